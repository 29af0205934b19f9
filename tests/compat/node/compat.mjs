// What KurrentDB's Node clients do with Icecore, with asserted results.
//
// The server's address is in ICECORE, the client's package in CLIENT, and RESTART kills the server and
// starts it again. Persistent subscriptions and projections are in persistent.mjs.

import assert from "node:assert/strict";
import { execSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const PACKAGE = process.env.CLIENT;
const ADDRESS = process.env.ICECORE;
const db = await import(PACKAGE);
const IS_NEW = PACKAGE === "@kurrent/kurrentdb-client";
const Client = IS_NEW ? db.KurrentDBClient : db.EventStoreDBClient;
const { jsonEvent, binaryEvent, START, END, FORWARDS, BACKWARDS, NO_STREAM, STREAM_EXISTS, ANY } = db;

const connect = (scheme = IS_NEW ? "kurrentdb" : "esdb") =>
  Client.connectionString(`${scheme}://${ADDRESS}?tls=false`);
const newName = (prefix = "order") => `${prefix}-${randomUUID()}`;
const event = (n = 0, fields = {}) =>
  jsonEvent({ type: "OrderPlaced", data: { n }, ...fields });

async function all(events) {
  const found = [];
  for await (const resolved of events) found.push(resolved);
  return found;
}
const revisions = async (events) => (await all(events)).map(({ event }) => Number(event.revision));

const cases = {
  async appendsAndConflicts(client) {
    const name = newName();
    const events = [event(0), event(1)];
    const first = await client.appendToStream(name, events, { [key]: NO_STREAM });
    assert.equal(Number(first.nextExpectedRevision), 1);
    const again = await client.appendToStream(name, events, { [key]: NO_STREAM });
    assert.deepEqual(again.position, first.position);
    await client.appendToStream(name, event(2), { [key]: 1n });
    await client.appendToStream(name, event(3), { [key]: STREAM_EXISTS });
    const wrong = (error) => error instanceof db.WrongExpectedVersionError;
    await assert.rejects(client.appendToStream(name, event(4), { [key]: NO_STREAM }), wrong);
    await assert.rejects(client.appendToStream(name, event(4), { [key]: 7n }), wrong);
    await assert.rejects(client.appendToStream(newName(), event(4), { [key]: STREAM_EXISTS }), wrong);
    assert.deepEqual(await revisions(client.readStream(name)), [0, 1, 2, 3]);
  },

  async manyAppendsAtOnce(client) {
    const name = newName();
    const written = Array.from({ length: 200 }, (_, n) =>
      client.appendToStream(name, event(n), { [key]: ANY }),
    );
    await Promise.all(written);
    const read = await all(client.readStream(name));
    assert.deepEqual(read.map(({ event }) => event.data.n), written.map((_, n) => n));
  },

  async largeAppends(client) {
    const name = newName();
    const large = Array.from({ length: 5 }, () =>
      binaryEvent({ type: "Scanned", data: Buffer.alloc(2_000_000, 7) }),
    );
    await client.appendToStream(name, large);
    const read = await all(client.readStream(name));
    assert.deepEqual(read.map(({ event }) => event.data.length), large.map(() => 2_000_000));
  },

  async anEventComesBackAsItWas(client) {
    const name = newName();
    const json = event(7, { metadata: { $correlationId: "c", user: "me" } });
    const binary = binaryEvent({ type: "Scanned", data: Buffer.from([0, 255]), metadata: Buffer.from([1]) });
    await client.appendToStream(name, [json, binary]);
    const [first, second] = await all(client.readStream(name));
    assert.equal(first.event.id, json.id);
    assert.equal(first.event.type, "OrderPlaced");
    assert.deepEqual(first.event.data, { n: 7 });
    assert.deepEqual(first.event.metadata, json.metadata);
    assert.ok(Math.abs(first.event.created - Date.now()) < 60_000);
    assert.deepEqual([...second.event.data], [0, 255]);
    assert.deepEqual([...second.event.metadata], [1]);
  },

  async readsInEachDirection(client) {
    const name = newName();
    await client.appendToStream(name, Array.from({ length: 5 }, (_, n) => event(n)));
    const read = (options) => revisions(client.readStream(name, options));
    assert.deepEqual(await read({ fromRevision: 3n }), [3, 4]);
    assert.deepEqual(await read({ maxCount: 2 }), [0, 1]);
    const back = { direction: BACKWARDS, fromRevision: END };
    assert.deepEqual(await read(back), [4, 3, 2, 1, 0]);
    assert.deepEqual(await read({ ...back, fromRevision: 1n }), [1, 0]);
    await assert.rejects(all(client.readStream(newName())), db.StreamNotFoundError);
    const [last] = await all(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
    assert.equal(last.event.streamId, name);
    const from = { fromPosition: last.event.position };
    assert.equal((await all(client.readAll(from))).length, 1);
  },

  async deletions(client) {
    const name = newName();
    await client.appendToStream(name, event());
    const wrong = (error) => error instanceof db.WrongExpectedVersionError;
    await assert.rejects(client.deleteStream(name, { expectedRevision: 7n }), wrong);
    await assert.rejects(client.deleteStream(newName()), wrong);
    await client.deleteStream(name, { expectedRevision: 0n });
    await assert.rejects(all(client.readStream(name)), db.StreamNotFoundError);
    await client.appendToStream(name, event(), { [key]: NO_STREAM });
    assert.deepEqual(await revisions(client.readStream(name)), [1]);
    await client.tombstoneStream(name);
    await assert.rejects(all(client.readStream(name)), db.StreamDeletedError);
    await assert.rejects(client.appendToStream(name, event()), db.StreamDeletedError);
    await assert.rejects(client.tombstoneStream(name), db.StreamDeletedError);
  },

  async metadata(client) {
    const name = newName();
    assert.equal((await client.getStreamMetadata(name)).metadata, undefined);
    await client.appendToStream(name, Array.from({ length: 5 }, (_, n) => event(n)));
    const metadata = { maxCount: 2, acl: { readRoles: ["$admins"] }, mine: [1] };
    await client.setStreamMetadata(name, metadata, { expectedRevision: NO_STREAM });
    const read = await client.getStreamMetadata(name);
    assert.equal(read.metadata.maxCount, 2);
    assert.deepEqual(read.metadata.mine, [1]);
    assert.deepEqual(await revisions(client.readStream(name)), [3, 4]);
  },

  async links(client) {
    const [name, list] = [newName(), newName("list")];
    await client.appendToStream(name, [event(0), event(1)]);
    const link = (n) => binaryEvent({ type: "$>", data: Buffer.from(`${n}@${name}`) });
    await client.appendToStream(list, [link(1), link(0)]);
    const found = await all(client.readStream(list, { resolveLinkTos: true }));
    assert.deepEqual(found.map(({ event, link }) => [Number(event.revision), Number(link.revision)]), [[1, 0], [0, 1]]);
  },

  async subscriptions(client) {
    const name = newName();
    await client.appendToStream(name, [event(0), event(1)]);
    const seen = [];
    const subscription = client.subscribeToStream(name, { fromRevision: 0n });
    const everything = client.subscribeToAll({
      fromPosition: START,
      filter: db.streamNameFilter({ prefixes: [name] }),
    });
    const follow = async (subscription) => {
      for await (const { event } of subscription) {
        seen.push(Number(event.revision));
        if (event.revision === 3n) return subscription.unsubscribe();
      }
    };
    const followed = [follow(subscription), follow(everything)];
    await client.appendToStream(name, [event(2), event(3)]);
    await Promise.all(followed);
    assert.deepEqual(seen.sort(), [0, 1, 1, 2, 2, 3, 3]);
  },

  async filters(client) {
    const name = newName();
    const types = ["One", "Two", "One"];
    await client.appendToStream(name, types.map((type) => event(0, { type })));
    // The older client filters subscriptions only.
    if (!IS_NEW) return;
    const [first] = await all(client.readStream(name, { maxCount: 1 }));
    const read = async (filter) =>
      (await all(client.readAll({ fromPosition: first.event.position, filter }))).map(({ event }) => event.type);
    assert.deepEqual(await read(db.eventTypeFilter({ prefixes: ["One"] })), ["One", "One"]);
    assert.deepEqual(await read(db.eventTypeFilter({ regex: "^Tw" })), ["Two"]);
    assert.deepEqual(await read(db.excludeSystemEvents()), types);
  },

  async discovery() {
    const client = connect(IS_NEW ? "kurrentdb+discover" : "esdb+discover");
    await client.appendToStream(newName(), event());
    await client.dispose();
  },

  async restartWithinASubscription(client) {
    const name = newName();
    const written = Array.from({ length: 100 }, (_, n) => event(n));
    const seen = [];
    const follow = async () => {
      const reader = connect();
      let after = START;
      while (seen.length < written.length) {
        try {
          for await (const { event } of reader.subscribeToStream(name, { fromRevision: after })) {
            seen.push(event.id);
            after = event.revision;
            if (seen.length === written.length) break;
          }
        } catch {
          await sleep(50);
        }
      }
      await reader.dispose();
    };
    const followed = follow();
    for (const [n, one] of written.entries()) {
      if (n === 50) execSync(process.env.RESTART, { stdio: "inherit" });
      const expected = n ? BigInt(n - 1) : NO_STREAM;
      for (let tries = 0; ; tries++) {
        try {
          await client.appendToStream(name, one, { [key]: expected });
          break;
        } catch (error) {
          if (tries === 100) throw error;
          await sleep(100);
        }
      }
    }
    await followed;
    assert.deepEqual(seen, written.map(({ id }) => id));
  },
};

if (IS_NEW) {
  cases.severalStreamsAtOnce = async (client) => {
    const [a, b] = [newName(), newName()];
    const to = (streamName, expectedState, ...events) => ({ streamName, expectedState, events });
    const answer = await client.multiStreamAppend([to(a, NO_STREAM, event(1)), to(b, ANY, event(2))]);
    assert.ok(answer.position > 0n);
    const conflict = client.multiStreamAppend([to(newName(), ANY, event(3)), to(a, NO_STREAM, event(4))]);
    await assert.rejects(conflict, db.WrongExpectedVersionError);
    assert.deepEqual(await revisions(client.readStream(a)), [0]);
  };
}

/** How an append says what it expects; the older client has another word. */
const key = IS_NEW ? "streamState" : "expectedRevision";

const client = connect();
const restart = cases.restartWithinASubscription;
delete cases.restartWithinASubscription;
for (const [name, run] of Object.entries({ ...cases, restartWithinASubscription: restart })) {
  await run(client);
  console.log(`${PACKAGE}: ${name}: ok`);
}
await client.dispose();
process.exit(0);
