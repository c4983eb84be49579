-- The scaling stands in a table beside the features. Were it older than they are, the scaled view would still look
-- right, row by row; only its means and deviations would not be 0 and 1.
{%- set features = scaled_columns() %}

with

summarized as (

    select
        {%- for feature in features %}
            avg({{ feature }}) as {{ feature }}__mean,
            stddev_pop({{ feature }}) as {{ feature }}__scale{% if not loop.last %},{% endif %}
        {%- endfor %}
    from {{ ref('housing_scaled') }}

),

final as (

    {%- for feature in features %}
        select
            '{{ feature }}' as feature,
            {{ feature }}__mean as mean,
            {{ feature }}__scale as scale
        from summarized
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}

)

select * from final
where
    abs(mean) > 1e-9
    -- a constant feature has the deviation 0, as StandardScaler leaves it
    or (scale > 1e-9 and abs(scale - 1) > 1e-9)
