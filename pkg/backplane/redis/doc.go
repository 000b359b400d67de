// Package redis is the backplane of several gateways: it carries messages over Redis Pub/Sub, with one channel for each room
// and each user. It owns its connections to Redis and the state of subscriptions; it knows nothing of clients.
//
// # Links
//
// A link is one connection to Redis and is used until its first error, then closed and made anew. go-redis dials, shakes
// hands, pings and brings the scripts; everything it would do by itself beyond that is turned off (see link.go), so that a
// connection never comes back behind our back with another state than we believe it has. What is done for each message is ours:
// messages are read (push.go) and delivered where they lie in the link's buffer, without a copy or an allocation, and a
// publisher writes all commands of a pipeline at once and reads their answers (pipeline.go, resp.go). That costs a quarter of
// go-redis's processor time for what is received, and four fifths for what is published alone, where the rest is the system's.
//
// There are a few links for subscriptions, over which targets are spread by hash, and a few for publishing, over which they are
// spread too, so that the order of a target is the order of one connection. How many does not depend on the number of rooms.
//
// # Sentinel
//
// With redis+sentinel:// each dial asks the sentinels for the primary (sentinel.go), believes the newest answer of a majority,
// and checks by ROLE that the server agrees, since a replica takes PUBLISH without an error. One connection to a sentinel
// hears of switches, and every few seconds the question is asked again; links that lead elsewhere are cut. So the worst a
// deposed primary can do is what it does before the sentinels have chosen. The user of an ACL needs ROLE beside the rest.
//
// # Cluster
//
// With redis+cluster:// there is a set of links to each primary, a shard (shard.go); otherwise there is one shard, and what follows is
// the same for both. In a cluster channels are in slots as keys are (SSUBSCRIBE, SPUBLISH), and the channel of a room is in the slot
// of its keys. The router (router.go) knows which shard serves a slot. Its table follows what the nodes say: several are asked,
// of two that claim a slot the one with the later epoch has it (topology.go), when a link breaks, when a node redirects, and every few
// seconds (cluster.go). A node that is asked for what is elsewhere says where, and is believed at once.
//
// What belongs to a slot that has moved is handed over by those who own it, each when nothing of it is on its way: a publisher
// between two pipelines, so that publications keep their order, and a subscriber between two messages, so that a target is never told
// of by two goroutines (handOver). Subscriptions that are handed over count as interrupted.
//
// While the keys of a slot are on their way, the old shard redirects what it has no more (ASK), and the publisher there gives it to the
// one of the new shard. Subscribers are still with the old one, so what was published by the script is published there once
// more (passOn). What a shard cannot decide yet (TRYAGAIN) is put off, with all later ones of the same slot (redirect.go). A log begins a
// new epoch on its new shard: whether the shard has it from the old one, or lost some of it in a failover, is nothing that a
// gateway could know.
//
// # A primary that was silent
//
// A primary that hung may go on as if nothing had happened when its replica has taken its place. doubt.go says what is done about
// that.
//
// # Subscriptions
//
// What the hub wants is kept in memory (subscriptions.go) and brought to Redis by the link's writer, up to 1,000 channels a
// command. For one channel at most one command is on its way, so a confirmation always belongs to the newest one. A link
// that breaks loses all; its successor subscribes to everything wanted and the sink is told of each target again.
// A link that brings nothing for 3 s, though it is pinged each second, counts as broken: that finds half-open connections and
// a Redis that hangs.
//
// # Publications
//
// Publishing puts the message into a queue bounded in bytes and returns. A publisher takes what is queued into one pipeline;
// what comes while it is on its way makes up the next. A publication that cannot be written since the link is down
// waits for the next link until its deadline (2 s from Publish). When Redis is back, publishers let the subscriptions go first,
// also those of other gateways for about as long as they need, or what waited would reach nobody. One that was written and got
// no answer ends as unavailable at once and is never sent again: Redis may have taken it. After a Redis that hung goes on, such a message may even arrive after later
// ones; whoever needs more has a room with history.
//
// # Logs
//
// A publication that is to be kept, or has an idempotency key, is carried out by a script (lua/), which recognizes what it has seen, gives
// the offset, appends, trims and publishes in one atomic step. It is sent again until its deadline when the answer is missing:
// each has a number of this process, and the script takes none that is not newer than the newest it has seen. That also keeps out
// an attempt that was given up and reaches Redis late. All keys of a target expire with its log.
//
// The epoch of a log changes when the primary is another than the one that wrote last, which is told by its replication id.
// INFO gives it when a link is first used for scripts, and each second after; the scripts get it as an argument,
// since asking for it within the script costs as much as several of its other commands. A link does not outlive a failover unnoticed: the
// primary is gone, or answers READONLY, or Sentinel closes the connection.
//
// Logs are read over a link of their own, since pages are large.
//
// # Presence
//
// Who is in a room is kept as the number of connections of each user on each node, in sums over the nodes (lua/roster.lua says in
// which keys). This process counts its own connections in memory and tells Redis what is, not what has changed: up to 200 users of
// a room in one call of a script, one call a room at a time, so that what comes meanwhile makes up the next. The script
// finds out who came to the room or left it and publishes that in the same atomic step. A call has a number, and a script takes none
// that is not newer than the newest it has seen from the node; a call that fails is followed by one with what is true then.
//
// Every node has a lease in each of its rooms, by the clock of Redis: 20 s, renewed every 7 s by one command whatever the number
// of members. The node that renews next takes out those whose lease has ended, 200 users in a step. A renewal says which of
// the node's calls must have been seen. If Redis has not, because it lost its data, was rolled back by a failover, or took the node's
// members out, the node takes a new name in the room and tells everything again; what is left under the old name
// is taken over user by user. After a loss of all data nobody is said to come or go because of it: a generation, made with
// the keys, tells that apart from having been taken out. While Redis cannot be reached for longer than a lease, nobody leaves:
// a node that finds its own lease ended does not judge those of others for one more round.
//
// # Registry
//
// What each process tells of itself is in one hash, and in a sorted set when it was heard of last, by the clock of Redis: a lease
// as long as that of presence. Announcing is one script, which also forgets up to 100 nodes whose lease has ended.
//
// # Canaries
//
// That links are up, and every ping is answered, does not prove that messages pass: after a failover that one link has not noticed,
// what is published goes to one server while the subscriptions are at another. So each process has a target of its own for
// every subscription link of every shard, subscribed and published to as a room is, and looks whether what it sends comes back.
//
// # Names
//
// With cluster chat and room id "a b" the channel is
//
//	chat:{r:a%20b}:ch
//
// Everything begins literally with the cluster and a colon, so that an ACL user is held to ~chat:* and &chat:*. Then comes r
// for a room or u for a user with the id, percent-encoded but for A–Z a–z 0–9 . _ ~ -, in braces: the hash tag that
// puts all keys of a room into one slot of a Redis Cluster. Then what it is: ch is the channel, log and meta are the log,
// once:<digest> is an idempotency key, and here, more, nodes, state and at:<node> are presence. Ids cannot
// break out of the braces since the encoding leaves neither braces, colons nor glob characters. The registry is
// chat:{nodes}:seen and chat:{nodes}:records, and a canary's channel chat:{c:<node>-<number>}:ch, with
// chat:{c:<node>-<number>}:write beside it, written to see whether Redis takes writes.
package redis
