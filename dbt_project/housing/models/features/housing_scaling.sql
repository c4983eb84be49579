{%- set features = scaled_columns() -%}

with

housing_features as (

    select * from {{ ref('housing_features') }}

),

-- one scan for all features
summarized as (

    select
        {%- for feature in features %}
            avg({{ feature }}) as {{ feature }}__mean,
            stddev_pop({{ feature }}) as {{ feature }}__scale,
        {%- endfor %}
        count(*) as row_count
    from housing_features

),

final as (

    {%- for feature in features %}
        select
            '{{ feature }}' as feature,
            {{ feature }}__mean as mean,
            -- as StandardScaler does: a constant is shifted and not scaled
            case when {{ feature }}__scale = 0 then cast(1 as double) else {{ feature }}__scale end as scale,
            row_count
        from summarized
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}

)

select * from final
