{{ config(alias='housing_valuations') }}

select * from {{ ref('housing_valuations') }}
where version_id is not null
