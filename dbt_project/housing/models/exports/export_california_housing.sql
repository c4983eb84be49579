{{ config(alias='california_housing') }}

select * from {{ ref('california_housing') }}
