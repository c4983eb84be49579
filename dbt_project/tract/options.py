"""Which options of a dbt command may make it build less than all rows: those that are not known to leave none out."""

from typing import Any

import click

# Of `dbt build` in 1.11: what chooses nodes, what is printed and where to. A new option is not here, and so refuses.
WHOLE = """
cache_selected_only debug defer deprecated_defer defer_state deprecated_favor_state deprecated_print deprecated_state
fail_fast favor_state indirect_selection log_cache_events log_file_max_bytes log_format log_format_file log_level
log_level_file log_path macro_debugging partial_parse partial_parse_file_path partial_parse_file_diff populate_cache
print printer_width profile quiet record_timing_info send_anonymous_usage_stats single_threaded
show_all_deprecations state static_parser target use_colors use_colors_file use_experimental_parser version
version_check warn_error warn_error_options write_json use_fast_test_edges upload_to_artifacts_ingest_api exclude
export_saved_queries full_refresh include_saved_query profiles_dir project_dir resource_types
exclude_resource_types sqlparse select selector show store_failures target_path threads vars
"""


def leaving_out(flags: Any) -> str:
    """The options of the invocation under way that may have left rows out, as they are typed; nothing where none did.

    Args:
        flags: dbt's own, which also know what the environment and dbt_project.yml set.
    """
    context = click.get_current_context(silent=True)
    names = [param.name for param in context.command.params if param.name] if context else []
    return " and ".join(
        f"--{name.replace('_', '-')}"
        for name in names
        if name not in WHOLE.split() and getattr(flags, name.upper(), None) not in (None, False, ())
    )
