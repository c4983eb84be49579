{#- Fails for combinations of `columns` that stand in more than one row: the grain of a table with several keys. -#}
{% test unique_together(model, columns) %}

select {{ columns | join(', ') }}
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
