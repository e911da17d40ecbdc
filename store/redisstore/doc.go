// Package redisstore keeps sessions in Redis: in one server, in one behind Sentinel, or in
// a Cluster. docs/redis.md describes the keys.
package redisstore
