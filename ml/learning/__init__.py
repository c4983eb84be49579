"""From a published snapshot to a version and a verdict on it: what competes, how it is judged, who wins."""
