{#- What may be learned from a model: its contract's columns less the key, target and group of the exposure on it. -#}
{% macro feature_columns(model_name) -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- set node = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
            | selectattr('name', 'equalto', model_name) | first -%}
        {%- set others = [] -%}
        {%- for exposure in graph.exposures.values() if exposure.type == 'ml' and node.unique_id in exposure.depends_on.nodes -%}
            {%- set ml = exposure.config.meta.ml -%}
            {%- do others.extend([ml.key, ml.target, ml.group]) -%}
        {%- endfor -%}
        {%- for name in node.columns if name not in others -%} {%- do found.append(name) -%} {%- endfor -%}
    {%- endif -%}
    {{- return(found) -}}
{%- endmacro %}
