{#- The columns that are standardized: those of housing_features' contract less the key, the block and the house value.
    Which of them a model learns from, its exposure says, and no table here depends on that. -#}
{% macro scaled_columns() -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- set node = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
            | selectattr('name', 'equalto', 'housing_features') | first -%}
        {%- for name in node.columns if name not in ['block_group_id', 'spatial_block', 'median_house_value'] -%}
            {%- do found.append(name) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return(found) -}}
{%- endmacro %}
