{#- Fails for values below `low`, above `high`, missing, or not a number (NaN). -#}
{% test between(model, column_name, low=none, high=none) %}

select {{ column_name }}
from {{ model }}
where
    {{ column_name }} is null
    or isnan({{ column_name }})
    {%- if low is not none %}
    or {{ column_name }} < {{ low }}
    {%- endif %}
    {%- if high is not none %}
    or {{ column_name }} > {{ high }}
    {%- endif %}

{% endtest %}
