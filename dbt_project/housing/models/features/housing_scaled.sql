{{ config(materialized='view') }}

{%- set features = scaled_columns() -%}

with

housing_features as (

    select * from {{ ref('housing_features') }}

),

housing_scaling as (

    select * from {{ ref('housing_scaling') }}

),

-- one row, a column a feature
scaling as (

    select
        {%- for feature in features %}
            max(case when feature = '{{ feature }}' then mean end) as {{ feature }}__mean,
            max(case when feature = '{{ feature }}' then scale end) as {{ feature }}__scale
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from housing_scaling

),

final as (

    select
        housing_features.block_group_id,
        {%- for feature in features %}
            (housing_features.{{ feature }} - scaling.{{ feature }}__mean)
            / scaling.{{ feature }}__scale as {{ feature }},
        {%- endfor %}
        housing_features.spatial_block,
        housing_features.median_house_value
    from housing_features
    cross join scaling

)

select * from final
