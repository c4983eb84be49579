{#- A table whose rows another engine makes, as its model's `meta: {engine: spark}` says: it writes files below the
    lake's data path, and the transaction of the build adopts them. Contract, hooks and the publication are as
    ever; Python models and the temporary tables of incremental ones stay DuckDB's. -#}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
    {%- set engine = config.get('meta', {}).get('engine', 'duckdb') -%}
    {%- if engine not in ('duckdb', 'spark') -%}
        {{- exceptions.raise_compiler_error(
            "meta.engine of " ~ model.name ~ " is '" ~ engine ~ "'. It must be duckdb or spark."
        ) -}}
    {%- endif -%}
    {%- if engine == 'spark' and language != 'sql' -%}
        {%- do log(model.name ~ " is a Python model: it runs in dbt's process, by DuckDB, and not on Spark.", info=true) -%}
    {%- endif -%}
    {%- if engine == 'duckdb' or language != 'sql' or temporary -%}
        {{- return(dbt.duckdb__create_table_as(
            temporary, relation, compiled_code, language, partitioned_by, sorted_by
        )) -}}
    {%- endif -%}
    {%- set enforced = config.get('contract').enforced -%}
    {%- if enforced -%} {{ get_assert_columns_equivalent(compiled_code) }} {%- endif -%}
    {%- set built = tract.ask_ml('built_by_engine', {
        'sql': compiled_code,
        'schema': relation.schema,
        'name': relation.identifier,
        'stands': this.identifier,
        'path': model.original_file_path,
        'columns': model.columns,
        'constraints': model.constraints,
    }) -%}
    create table {{ relation }} {% if enforced %}{{ get_table_columns_and_constraints() }}{% else %}({{ built.columns }}){% endif %};
    {%- for statement in built.statements %}
        {{ statement }};
    {%- endfor %}
    {%- do log(built.sentence, info=true) -%}
{%- endmacro %}


{#- A data test of a table that the engine built is run there if the table is large: what comes is the number of failures,
    for dbt's own statement. A test whose failures are stored, and one that would mean something else there, is DuckDB's. -#}
{% macro duckdb__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
    {%- set tables = [] -%}
    {%- for unique_id in model.depends_on.nodes if unique_id in graph.nodes and not should_store_failures() -%}
        {%- set node = graph.nodes[unique_id] -%}
        {%- if (node.config.meta or {}).get('engine') == 'spark' and node.language == 'sql' and node.database == 'lake'
            and node.config.materialized in ('table', 'incremental') -%}
            {%- do tables.append(node.schema ~ '.' ~ node.alias) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set failures = none -%}
    {%- if tables and limit is none -%}
        {%- set failures = tract.ask_ml('tested_by_engine', {
            'name': model.name, 'sql': main_sql, 'counted': fail_calc, 'tables': tables
        }) -%}
    {%- endif -%}
    {%- if failures is none -%}
        {{- dbt.default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -}}
    {%- else -%}
    select
        {{ failures }} as failures,
        {{ failures }} {{ warn_if }} as should_warn,
        {{ failures }} {{ error_if }} as should_error
    {%- endif -%}
{%- endmacro %}
