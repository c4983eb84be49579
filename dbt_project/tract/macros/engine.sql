{#- A table whose rows another engine makes, as its model's `meta: {engine: spark}` says: it writes files below the
    lake's data path, and the transaction of the build adopts them. Contract, hooks, tests and the publication are as
    ever; Python models and the temporary tables of incremental ones stay DuckDB's. -#}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
    {%- set engine = config.get('meta', {}).get('engine', 'duckdb') -%}
    {%- if engine not in ('duckdb', 'spark') -%}
        {{- exceptions.raise_compiler_error(
            "meta.engine of " ~ model.name ~ " is '" ~ engine ~ "'. It must be duckdb or spark."
        ) -}}
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
