{#- A key from columns of doubles: md5 over their bytes as they sort, a byte before each that tells null (01 or 02),
    then the IEEE 754 double, big-endian, its sign bit flipped, or all bits of a negative number. -0.0 is 0.0.
    The unit test of stg_housing pins it. Over their texts it took 22 s of the 38 s of CPU that 10 million
    rows of features need; so it takes 4. -#}
{% macro hash_key(columns) -%}
    {{ return(adapter.dispatch('hash_key', 'housing')(columns)) }}
{%- endmacro %}

{% macro duckdb__hash_key(columns) -%}
    md5(create_sort_key({% for column in columns -%}
        {{ column }}, 'ASC NULLS LAST'{{ ', ' if not loop.last }}
    {%- endfor %}))
{%- endmacro %}
