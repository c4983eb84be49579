{#- How far east of a row (its columns `latitude` and `longitude`) a meridian is, in km, at the row's own latitude. -#}
{% macro km_east(longitude) -%}
    (({{ longitude }} - housing_features.longitude) * 111.32 * cos(radians(housing_features.latitude)))
{%- endmacro %}


{#- How far north of a row a parallel is, in km. -#}
{% macro km_north(latitude) -%}
    (({{ latitude }} - housing_features.latitude) * 111.32)
{%- endmacro %}


{#- The length of an arrow, in the unit of its two parts. -#}
{% macro length_of(east, north) -%}
    sqrt(power({{ east }}, 2) + power({{ north }}, 2))
{%- endmacro %}
