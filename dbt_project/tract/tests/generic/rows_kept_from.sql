{#- Fails when this table has not exactly as many rows as the one that it was made from. -#}
{% test rows_kept_from(model, origin) %}

with

counted as (

    select
        (select count(*) from {{ model }}) as found,
        (select count(*) from {{ origin }}) as expected

)

select * from counted where found <> expected

{% endtest %}
