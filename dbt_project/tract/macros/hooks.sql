{#- The hooks of a run. What they decide is decided by functions of `ml`, which the plugin answers for. -#}

{% macro ask_ml(question, said) -%}
    {%- set asked = {'question': question, 'said': said, 'answer': none} -%}
    {%- do adapter.store_relation('tract', none, [], '', '', asked) -%}
    {{- return(asked.answer) -}}
{%- endmacro %}


{#- The part of the manifest that the specs need: exposures, the models that they learn from, and who is told by default. -#}
{% macro ml_manifest() -%}
    {%- set exposures = {} -%}
    {%- set nodes = {} -%}
    {%- for exposure in graph.exposures.values() if exposure.type == 'ml' -%}
        {%- do exposures.update({exposure.unique_id: exposure}) -%}
        {%- for parent in exposure.depends_on.nodes if parent in graph.nodes -%}
            {%- set node = graph.nodes[parent] -%}
            {%- do nodes.update({parent: {
                'name': node.name,
                'database': node.database,
                'schema': node.schema,
                'alias': node.alias,
                'columns': node.columns,
                'config': {
                    'contract': {'enforced': node.config.contract.enforced},
                    'materialized': node.config.materialized,
                    'engine': (node.config.meta or {}).get('engine', 'duckdb'),
                },
            }}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set notices = graph.sources['source.tract.ops.notices'] -%}
    {%- set sources = {notices.unique_id: {'config': {'meta': {'notify': notices.config.meta.notify}}}} -%}
    {{- return({
        'exposures': exposures, 'nodes': nodes, 'sources': sources, 'environment': tract.environment()
    }) -}}
{%- endmacro %}


{#- What does not fit ends the run before the first model is built, in a sentence each: a spec its table, a schema the
    target, a contract the lake, and the data to be landed, as a model's `meta: {check: package.module.function}` finds: a function that takes a
    DuckDB connection with the lake's settings and raises an `ml.errors.TractError`. -#}
{% macro check_ahead() -%}
    {%- if execute -%}
        {%- set models = [] -%}
        {%- set checks = [] -%}
        {%- set places = [] -%}
        {%- for unique_id in selected_resources if unique_id in graph.nodes -%}
            {%- set node = graph.nodes[unique_id] -%}
            {%- if node.resource_type in ('model', 'seed', 'snapshot') and node.database == 'lake' -%}
                {%- do places.append([node.name, node.schema]) -%}
            {%- endif -%}
            {%- if node.resource_type == 'model' and node.config.meta.engine == 'spark'
                and adapter.dispatch('create_table_as', 'dbt').macro.package_name == 'dbt_duckdb' -%}
                {{- exceptions.raise_compiler_error(
                    node.original_file_path ~ " says engine: spark, and dbt does not look for `create_table_as` in the package tract. "
                    ~ "Add to dbt_project.yml: dispatch: [{macro_namespace: dbt, search_order: [" ~ project_name ~ ", tract, dbt]}]."
                ) -}}
            {%- endif -%}
            {%- if node.resource_type == 'model' and node.config.meta.check -%}
                {%- do checks.append(node.config.meta.check) -%}
            {%- endif -%}
            {%- if node.resource_type == 'model' and node.config.contract.enforced and node.database == 'lake'
                and node.config.materialized in ('table', 'incremental') -%}
                {%- do models.append({
                    'name': node.name,
                    'original_file_path': node.original_file_path,
                    'constraints': node.constraints,
                    'columns': node.columns,
                }) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set manifest = tract.ml_manifest() -%}
        {%- do tract.ask_ml('check_ahead', {
            'manifest': manifest, 'models': models, 'checks': checks, 'places': places
        }) -%}
        {%- for doubt in tract.ask_ml('doubtful_exposures', manifest) -%} {%- do exceptions.warn(doubt) -%} {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{#- The snapshot of each model's commit carries the invocation and the model: publish() finds it by them. -#}
{% macro sign() -%}
    call lake.set_commit_message('dbt', '{{ invocation_id }}', extra_info => '{{ (this.schema ~ '.' ~ this.identifier) | replace("'", "''") }}')
{%- endmacro %}


{#- The lake's options are set, and the tables of `ops` and `ml` are there, empty, before the first model. Commands
    that only read run their hooks too, and hold no lock: they make tables in a new lake alone. -#}
{% macro make_tables() -%}
    {%- if execute -%}
        {%- set ledger = tract.ask_ml('ledger_sql', none) -%}
        {%- set tables = run_query(ledger.present).columns[0].values() | list -%}
        {%- if ledger.first not in tables or tract.ask_ml('writes', none) -%}
            {%- set applied = run_query(ledger.applied).columns[0].values()[0] | int if ledger.ledger in tables else 0 -%}
            {%- set manifest = tract.ml_manifest() -%}
            {%- set columns = {} -%}
            {%- set known = {'present': tables, 'applied': applied, 'manifest': manifest} -%}
            {%- for exposure, query in tract.ask_ml('columns_sql', known).items() -%}
                {%- do columns.update({exposure: run_query(query).rows | map('list') | list}) -%}
            {%- endfor -%}
            {%- do tract.ask_ml('check_tables', {'manifest': manifest, 'columns': columns}) -%}
            {%- set statements = tract.ask_ml('table_statements', known) -%}
            {%- set options = run_query("select option_name from ducklake_options('lake')").columns[0].values() | list -%}
            {%- do tract.ask_ml('begins', run_query('select id from lake.current_snapshot()').rows[0][0]) -%}
            {%- for statement in tract.ask_ml('option_statements', options) + statements -%}
                {%- do run_query(statement) -%}
            {%- endfor -%}
            {%- do tract.list_relations() -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- What is there now, in dbt's cache: it was emptied when the lock was taken. Not later, in the transaction of a model:
    a Python model's rows come by another connection, and would not be seen. -#}
{% macro list_relations() -%}
    {%- set schemas = {} -%}
    {%- for node in graph.nodes.values() if node.resource_type in ('model', 'seed', 'snapshot') -%}
        {%- do schemas.update({(node.database, node.schema): none}) -%}
    {%- endfor -%}
    {%- for database, schema in schemas -%} {%- do adapter.get_relation(database, schema, 'any') -%} {%- endfor -%}
{%- endmacro %}


{#- One row in ops.publications for each learned-from table that this invocation built and tested; then production's
    manifest is kept. -#}
{% macro publish(results) -%}
    {%- if execute -%}
        {%- set ran = {} -%}
        {%- for result in results -%}
            {%- do ran.update({result.node.unique_id: [result.status | string, result.message or '']}) -%}
        {%- endfor -%}
        {%- set tests = {} -%}
        {%- set parents = {} -%}
        {%- for unique_id, node in graph.nodes.items() -%}
            {%- do parents.update({unique_id: node.depends_on.nodes}) -%}
            {%- if node.resource_type == 'test' -%}
                {%- do tests.update({unique_id: {
                    'name': node.name,
                    'severity': node.config.severity,
                    'attached_node': node.attached_node,
                    'depends_on': node.depends_on.nodes,
                }}) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set plan = tract.ask_ml('publication_steps', {
            'invocation': {
                'invocation_id': invocation_id,
                'results': ran,
                'tests': tests,
                'parents': parents,
            },
            'manifest': tract.ml_manifest(),
        }) -%}
        {%- for step in plan -%}
            {%- if step.state_sql -%}
                {%- do step.update({'state': run_query(step.state_sql).rows[0].values() | list}) -%}
                {%- do step.update(tract.ask_ml('publish_at', step)) -%}
            {%- endif -%}
            {%- if step.followed_sql -%}
                {%- set counts = step.counts -%}
                {%- for exposure, query in step.learnable_sql.items() -%}
                    {%- do counts.update({exposure: run_query(query).rows[0].values() | list}) -%}
                {%- endfor -%}
                {%- set followed = {} -%}
                {%- for row in run_query(step.followed_sql).rows -%}
                    {%- do followed.update({row[0]: row[1]}) -%}
                {%- endfor -%}
                {%- do step.update({'counts': counts, 'followed': followed}) -%}
                {%- do step.update(tract.ask_ml('publish_or_not', step)) -%}
            {%- endif -%}
            {%- if step.insert_sql -%} {%- do run_query(step.insert_sql) -%} {%- endif -%}
            {%- do log(step.sentence, info=true) -%}
        {%- endfor -%}
        {%- do tract.ask_ml('keep_manifest', {
            'production': var('production_target', none),
            'statuses': results | map(attribute='status') | map('string') | list,
        }) -%}
    {%- endif -%}
{%- endmacro %}
