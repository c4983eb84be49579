-- Models are judged on blocks that they have not seen, in folds of whole blocks. A source that covers a corner of the
-- state would leave fewer blocks than folds: that is no table to learn this model from.
select count(distinct spatial_block) as blocks
from {{ ref('housing_features') }}
having count(distinct spatial_block) < 5
