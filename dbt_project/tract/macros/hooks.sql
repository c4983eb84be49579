{#- The hooks of a run. What they decide is decided by functions of `ml`, which the plugin answers for. -#}

{% macro ask_ml(question, said) -%}
    {%- set asked = {'question': question, 'said': said, 'answer': none} -%}
    {%- do adapter.store_relation('tract', none, [], '', '', asked) -%}
    {{- return(asked.answer) -}}
{%- endmacro %}


{#- The part of the manifest that the specs need: exposures, and the models that they learn from. -#}
{% macro ml_manifest() -%}
    {%- set exposures = {} -%}
    {%- set nodes = {} -%}
    {%- for exposure in graph.exposures.values() if exposure.type == 'ml' -%}
        {%- do exposures.update({exposure.unique_id: exposure}) -%}
        {%- for parent in exposure.depends_on.nodes if parent in graph.nodes -%}
            {%- set node = graph.nodes[parent] -%}
            {%- do nodes.update({parent: {
                'name': node.name,
                'schema': node.schema,
                'alias': node.alias,
                'columns': node.columns,
                'config': {'contract': {'enforced': node.config.contract.enforced}},
            }}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return({'exposures': exposures, 'nodes': nodes}) -}}
{%- endmacro %}


{#- A spec that does not fit its table ends the run before the first model is built. -#}
{% macro check_exposures() -%}
    {%- if execute -%}
        {%- set wrong = tract.ask_ml('wrong_exposures', tract.ml_manifest()) -%}
        {%- if wrong -%} {{- exceptions.raise_compiler_error(wrong | join('\n')) -}} {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- Data that do not fit end their model with a sentence; inside a Python model it would be a traceback. As a pre-hook:
    `{{ tract.check('package.module.function') }}`, of a function that takes a DuckDB connection with the lake's settings
    and raises an `ml.errors.TractError`. -#}
{% macro check(function) -%}
    {%- if execute -%}
        {%- set wrong = tract.ask_ml('wrong', function) -%}
        {%- if wrong -%} {{- exceptions.raise_compiler_error(wrong) -}} {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- The snapshot of each model's commit carries the invocation and the model: publish() finds it by them. -#}
{% macro sign() -%}
    call lake.set_commit_message('dbt', '{{ invocation_id }}', extra_info => '{{ this.schema }}.{{ this.identifier }}')
{%- endmacro %}


{#- The lake's options are set, and the tables of `ops` and `ml` are there, empty, before the first model. -#}
{% macro make_tables() -%}
    {%- if execute -%}
        {%- set present = run_query("select option_name from ducklake_options('lake')").columns[0].values() | list -%}
        {%- set ledger = tract.ask_ml('ledger_sql', none) -%}
        {%- set tables = run_query(ledger.present).columns[0].values() | list -%}
        {%- set applied = run_query(ledger.applied).columns[0].values()[0] | int if ledger.ledger in tables else 0 -%}
        {%- set statements = tract.ask_ml('table_statements', {
            'present': tables, 'applied': applied, 'manifest': tract.ml_manifest()
        }) -%}
        {%- for statement in tract.ask_ml('option_statements', present) -%} {%- do run_query(statement) -%} {%- endfor -%}
        {%- for statement in statements -%} {%- do run_query(statement) -%} {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{#- One row in ops.publications for each learned-from table that this invocation built and tested. -#}
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
        {%- set partial = '--empty' if flags.EMPTY else '--sample' if flags.SAMPLE else '' -%}
        {%- set plan = tract.ask_ml('publication_steps', {
            'invocation': {
                'invocation_id': invocation_id,
                'partial': partial,
                'results': ran,
                'tests': tests,
                'parents': parents,
            },
            'manifest': tract.ml_manifest(),
        }) -%}
        {%- for step in plan -%}
            {%- set snapshot = run_query(step.snapshot_sql).rows[0][0] if step.snapshot_sql else '' -%}
            {%- if step.snapshot_sql -%}
                {%- do run_query(step.insert_sql | replace('{snapshot}', snapshot)) -%}
            {%- endif -%}
            {%- do log(step.sentence | replace('{snapshot}', snapshot), info=true) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
