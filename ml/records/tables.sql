-- The tables that ml writes and dbt reads: append-only, never updated in place, so that two exposures never
-- conflict. One statement a table; dbt's on-run-start runs them before the first model of any build.
-- A lake that has them already is changed by a step in migrations.py. Their columns are described in
-- dbt_project/tract/models/ml_sources.yml.

create schema if not exists lake.ops;
create schema if not exists lake.ml;

-- one row per step that this lake was brought through, or was made with
create table if not exists lake.ops.migrations (
    migration integer not null,
    what varchar not null,
    migrated_by varchar not null,
    migrated_at timestamptz not null
);

-- one row per tested build of a learned-from table
create table if not exists lake.ops.publications (
    publication_id varchar not null,
    relation varchar not null,
    snapshot_id bigint not null,
    fingerprint varchar not null,
    duckdb_version varchar not null,
    row_count bigint not null,
    invocation_id varchar not null,
    built_by varchar not null,
    git_commit varchar,
    published_at timestamptz not null
);

-- one row per exposure and revision of it that a sensor began to follow
create table if not exists lake.ops.followed (
    exposure varchar not null,
    revision varchar not null,
    followed_by varchar not null,
    followed_at timestamptz not null
);

-- one row per exposure and publication: what came of it
create table if not exists lake.ops.consumptions (
    exposure varchar not null,
    publication_id varchar not null,
    outcome varchar not null,
    reason varchar not null,
    input_hash varchar,
    version_id varchar,
    predicted_publication_id varchar,
    run_id varchar,
    consumed_at timestamptz not null
);

-- one row per exposure and publication whose rows were judged: what was measured once its predictions were committed
create table if not exists lake.ops.completions (
    exposure varchar not null,
    publication_id varchar not null,
    reason varchar not null,
    run_id varchar,
    completed_at timestamptz not null
);

-- one row per exposure, event, occasion and recipient: what people are told, in the commit that it tells of
create table if not exists lake.ops.notices (
    notice_id varchar not null,
    exposure varchar not null,
    about varchar not null,
    occasion varchar not null,
    recipient varchar not null,
    template varchar not null,
    text varchar not null,
    noticed_at timestamptz not null
);

-- one row per notice and state of its delivery, of which the newest holds
create table if not exists lake.ops.deliveries (
    notice_id varchar not null,
    state varchar not null,
    reason varchar,
    sender varchar not null,
    stated_at timestamptz not null
);

-- one row per exposure and version
create table if not exists lake.ml.model_versions (
    exposure varchar not null,
    version_id varchar not null,
    candidate varchar not null,
    publication_id varchar not null,
    relation varchar not null,
    snapshot_id bigint not null,
    fingerprint varchar not null,
    row_count bigint not null,
    invocation_id varchar not null,
    spec json not null,
    code varchar not null,
    git_commit varchar,
    features varchar[] not null,
    parameters json not null,
    artifact_uri varchar not null,
    artifact_sha256 varchar not null,
    scaler_uri varchar not null,
    scaler_sha256 varchar not null,
    trained_at timestamptz not null,
    signature varchar
);

-- one row per change of an exposure's champion
create table if not exists lake.ml.promotions (
    exposure varchar not null,
    promotion integer not null,
    version_id varchar not null,
    promoted_by varchar not null,
    reason varchar not null,
    promoted_at timestamptz not null
);

-- one row per exposure, version and publication that it predicted: all rows where both publications are one, else those
-- that are new or changed since
create table if not exists lake.ml.scorings (
    exposure varchar not null,
    version_id varchar not null,
    publication_id varchar not null,
    since_publication_id varchar not null,
    row_count bigint not null,
    scored_at timestamptz not null
);

-- one row per exposure, version, candidate, split, slice and metric
create table if not exists lake.ml.model_metrics (
    exposure varchar not null,
    version_id varchar not null,
    candidate varchar not null,
    split varchar not null,
    slice varchar not null,
    metric varchar not null,
    value double not null
);

-- one row per exposure, publication and version whose predictions stood: its error on true values that it had not seen
create table if not exists lake.ml.live_errors (
    exposure varchar not null,
    publication_id varchar not null,
    version_id varchar not null,
    predicted_publication_id varchar not null,
    row_count bigint not null,
    rmse double,
    mae double,
    coverage double not null,
    log_loss double,
    brier_score double,
    accuracy double,
    measured_at timestamptz not null
);

-- one row per exposure, publication and column: how far its rows have moved from those that the champion learned from
create table if not exists lake.ml.drift (
    exposure varchar not null,
    publication_id varchar not null,
    version_id varchar not null,
    baseline_publication_id varchar not null,
    column_name varchar not null,
    psi double not null,
    ks double not null,
    baseline_rows bigint not null,
    current_rows bigint not null,
    new_levels bigint,
    new_level_rows bigint,
    measured_at timestamptz not null
);

-- one row per exposure, search, candidate and trial: what a search tried
create table if not exists lake.ml.trials (
    exposure varchar not null,
    searched_at timestamptz not null,
    publication_id varchar not null,
    candidate varchar not null,
    trial integer not null,
    parameters json not null,
    metric varchar not null,
    loss double not null,
    folds integer not null,
    seconds double not null
);

-- one row per exposure, version and feature: how much worse a model is that cannot use it
create table if not exists lake.ml.feature_importance (
    exposure varchar not null,
    version_id varchar not null,
    feature varchar not null,
    importance_mean double not null,
    importance_sd double not null,
    repeats integer not null,
    split varchar not null,
    heldout_rows bigint not null,
    measured_at timestamptz not null
);

-- one row per exposure, version, feature, grid point and class: what the version predicts on average where the feature is that
create table if not exists lake.ml.partial_dependence (
    exposure varchar not null,
    version_id varchar not null,
    feature varchar not null,
    grid_point integer not null,
    feature_value double not null,
    mean_prediction double not null,
    averaged_rows bigint not null,
    class varchar,
    measured_at timestamptz not null
);

-- one row per model card written; a version's newest row is the file that stands there
create table if not exists lake.ml.model_cards (
    exposure varchar not null,
    version_id varchar not null,
    source_hash varchar not null,
    uri varchar not null,
    sha256 varchar not null,
    written_at timestamptz not null
);

-- one row per exposure: its champion, the version of its last promotion
create view if not exists lake.ml.champions as
select
    exposure,
    promotion,
    version_id,
    promoted_by,
    reason,
    promoted_at
from lake.ml.promotions
qualify row_number() over (partition by exposure order by promotion desc) = 1;

-- one row per exposure: the newest rows that it judged, and under which publication and version their predictions stand
create view if not exists lake.ml.standing_predictions as
with newest as (
    select
        consumptions.exposure,
        max_by(consumptions.publication_id, publications.snapshot_id) as publication_id,
        -- rows that came back are predicted under the publication that they had first
        max_by(
            coalesce(consumptions.predicted_publication_id, consumptions.publication_id), publications.snapshot_id
        ) as predicted_publication_id
    from lake.ops.consumptions as consumptions
    inner join lake.ops.publications as publications on consumptions.publication_id = publications.publication_id
    where consumptions.input_hash is not null
    group by consumptions.exposure
)
select
    newest.exposure,
    newest.publication_id,
    newest.predicted_publication_id,
    champions.version_id
from newest
left join lake.ml.champions as champions on newest.exposure = champions.exposure;
