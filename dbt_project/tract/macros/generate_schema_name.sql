{#- A schema is named as it is configured, the same for everyone: the lake is one place. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
