"""One run on many machines: what its workers share, who runs them, and which Jobs each does."""

from retouch.cluster.shards import Shard, ShardPlan, shard_of
from retouch.cluster.shares import divided, share_problems

__all__ = ["Shard", "ShardPlan", "divided", "shard_of", "share_problems"]
