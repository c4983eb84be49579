{#- dbt's targets in one lake. One of them is production, as the project's variable `production_target` says; names of
    any other begin with its own: its schemas, exports, and exposures in the tables of `ml` and `ops`. ml.environments
    says the same to Python. -#}

{#- The target's name; nothing in production, and where no variable says which target that is. -#}
{% macro environment() -%}
    {%- set production = var('production_target', none) -%}
    {%- if production is none or production == target.name -%} {{- return('') -}} {%- endif -%}
    {%- if modules.re.fullmatch('[a-z][a-z0-9]*(_[a-z0-9]+)*', target.name) is none -%}
        {{- exceptions.raise_compiler_error(
            "The target '" ~ target.name ~ "' cannot stand before names of schemas and models. A target other than "
            ~ "production_target (" ~ production ~ ") has small letters and digits in its name, a letter first, and "
            ~ "single underlines between them, such as pr_41."
        ) -}}
    {%- endif -%}
    {{- return(target.name) -}}
{%- endmacro %}


{#- A schema is named as it is configured in production, the same for everyone: the lake is one place. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set environment = tract.environment() -%}
    {{ (environment ~ '__' if environment else '') ~ (custom_schema_name or target.schema) }}
{%- endmacro %}


{#- What an exposure is called in the tables of `ml` and `ops`. -#}
{% macro lake_name(exposure_name) -%}
    {%- set environment = tract.environment() -%}
    {{- return(environment ~ '.' ~ exposure_name if environment else exposure_name) -}}
{%- endmacro %}


{#- The rows of a table of `ml` or `ops` that are this target's, to select from; `exposure` is the name in dbt. -#}
{% macro own(relation) -%}
    {%- set environment = tract.environment() -%}
    {%- if environment -%}
    (
        select * replace (substr(exposure, {{ environment | length + 2 }}) as exposure)
        from {{ relation }}
        where starts_with(exposure, '{{ environment }}.')
    )
    {%- else -%}
    (
        select * from {{ relation }}
        where not contains(exposure, '.')
    )
    {%- endif -%}
{%- endmacro %}
