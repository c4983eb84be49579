{#- Fails for rows with a missing value in any column. -#}
{% test complete(model) %}

{%- set columns = adapter.get_columns_in_relation(model) if execute else [] -%}

select *
from {{ model }}
where
    false
    {%- for column in columns %}
    or {{ adapter.quote(column.name) }} is null
    {%- endfor %}

{% endtest %}
