/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who reads a cluster's map of slots, on the keeper's loop: from one node after the other until one knows it, each second,
 * and at once when a call was sent on or a connection was lost. Writes the places of the shards, and the map.
 */
#pragma once

struct redis_cluster;
struct redis_shared;

struct redis_cluster *redis_cluster_new(struct redis_shared *);
void redis_cluster_free(struct redis_cluster *); /* NULL is fine */
