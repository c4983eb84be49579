{#- A key from columns of doubles: md5 over their texts, null kept apart from everything else. Engines write a double
    as different texts, so each has its own macro here, and a key is comparable within one engine only. -#}
{% macro hash_key(columns) -%}
    {{ return(adapter.dispatch('hash_key', 'tract')(columns)) }}
{%- endmacro %}

{% macro duckdb__hash_key(columns) -%}
    md5(concat_ws('|', {% for column in columns -%}
        coalesce(cast({{ column }} as varchar), 'null'){{ ', ' if not loop.last }}
    {%- endfor %}))
{%- endmacro %}
