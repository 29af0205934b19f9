// Catch-up subscriptions of KurrentDB's Node clients on Icecore, with asserted results.

import assert from "node:assert/strict";
import { all, connect, db, event, events, expecting, ids, newName, put, restartServer, run, sleep } from "./clients.mjs";

const { START, END, NO_STREAM } = db;

/** The next events of a subscription, which is over then. */
async function take(subscription, count) {
  const taken = [];
  for await (const resolved of subscription) {
    taken.push(resolved);
    if (taken.length === count) break;
  }
  return taken;
}
const revisionsOf = (resolved) => resolved.map(({ event }) => Number(event.revision));
const caughtUp = (subscription) => new Promise((resolve) => subscription.once("caughtUp", resolve));

const cases = {
  async ofAStream(client) {
    const [name, later] = [newName(), newName("later")];
    await client.appendToStream(name, events(3));
    const subscriptions = [START, 1n, END].map((fromRevision) => client.subscribeToStream(name, { fromRevision }));
    const missing = client.subscribeToStream(later, { fromRevision: START });
    const live = [...subscriptions, missing].map(caughtUp);
    const expected = [[0, 1, 2, 3], [2, 3], [3]];
    const followed = subscriptions.map((subscription, n) => take(subscription, expected[n].length));
    const first = take(missing, 1);
    await Promise.all(live);
    await client.appendToStream(name, event(3), expecting(2n));
    await client.appendToStream(later, event(4), expecting(NO_STREAM));
    assert.deepEqual((await Promise.all(followed)).map(revisionsOf), expected);
    assert.deepEqual(revisionsOf(await first), [0]);
  },

  async ofAll(client) {
    const name = newName();
    const { position } = await client.appendToStream(name, event());
    const written = await put(client, name, 1);
    const after = take(client.subscribeToAll({ fromPosition: position }), 2);
    const fromEnd = client.subscribeToAll({ fromPosition: END });
    const live = caughtUp(fromEnd);
    const newest = take(fromEnd, 1);
    await live;
    const more = await put(client, name, 1);
    assert.deepEqual(ids(await after), [...written, ...more]);
    assert.deepEqual(ids(await newest), more);
  },

  async throughFilters(client) {
    const name = newName("wanted");
    const type = `Wanted${name.replaceAll("-", "")}`;
    const { position: fromPosition } = await client.appendToStream(newName(), event());
    const filters = [
      db.streamNameFilter({ prefixes: [name] }),
      db.streamNameFilter({ regex: `^${name}$` }),
      db.eventTypeFilter({ prefixes: [type] }),
      db.eventTypeFilter({ regex: `^(?!OrderPlaced|\\$).*` }),
    ];
    const followed = filters.map((filter) => take(client.subscribeToAll({ fromPosition, filter }), 3));
    await put(client, newName(), 2);
    const written = await put(client, name, 2, { type });
    await put(client, newName(), 2);
    const more = await put(client, name, 1, { type });
    for (const taken of await Promise.all(followed)) assert.deepEqual(ids(taken), [...written, ...more]);
  },

  async checkpoints(client) {
    const name = newName("wanted");
    const { position: start } = await client.appendToStream(newName(), event());
    await client.appendToStream(newName(), events(25));
    const last = await client.appendToStream(name, event());
    const reached = [];
    const filter = db.streamNameFilter({
      prefixes: [name],
      maxSearchWindow: 10,
      checkpointInterval: 1,
      checkpointReached: (_, position) => void reached.push(position.commit),
    });
    await take(client.subscribeToAll({ fromPosition: start, filter }), 1);
    assert.ok(reached.length > 0, "no checkpoint");
    assert.deepEqual(reached, [...new Set(reached)].sort((a, b) => Number(a - b)));
    assert.ok(start.commit <= reached[0] && reached.at(-1) <= last.position.commit, `${reached}`);
  },

  async aTombstoneEndsIt(client) {
    const name = newName();
    await client.appendToStream(name, event());
    const subscription = client.subscribeToStream(name, { fromRevision: START });
    const types = [];
    const follow = async () => {
      for await (const { event } of subscription) {
        types.push(event.type);
        if (types.length === 1) await client.tombstoneStream(name);
      }
    };
    await assert.rejects(follow(), db.StreamDeletedError);
    assert.deepEqual(types, ["OrderPlaced", "$streamDeleted"]);
  },

  async restartWithinSubscriptions(client) {
    const name = newName();
    const written = events(200);
    const ofStream = (client, last) =>
      client.subscribeToStream(name, { fromRevision: last?.revision ?? START });
    const ofAll = (client, last) =>
      client.subscribeToAll({
        fromPosition: last?.position ?? START,
        filter: db.streamNameFilter({ prefixes: [name] }),
      });
    const followed = [ofStream, ofAll].map((subscribe) => follow(subscribe, written.length));
    await writeOverARestart(client, name, written);
    const expected = written.map(({ id }) => id);
    for (const seen of await Promise.all(followed)) assert.deepEqual(seen, expected);
    assert.deepEqual(ids(await all(client.readStream(name))), expected);
  },
};

/** Subscribes, and again after the last event that was seen when the server has gone. */
async function follow(subscribe, count) {
  const [seen, reader] = [[], connect()];
  let last;
  while (seen.length < count) {
    try {
      for await (const { event } of subscribe(reader, last)) {
        seen.push(event.id);
        last = event;
        if (seen.length === count) break;
      }
    } catch {
      await sleep(50);
    }
  }
  await reader.dispose();
  return seen;
}

async function writeOverARestart(client, name, written) {
  for (const [n, one] of written.entries()) {
    if (n === written.length / 2) restartServer();
    const expected = expecting(n ? BigInt(n - 1) : NO_STREAM);
    for (let tries = 0; ; tries++) {
      try {
        await client.appendToStream(name, one, expected);
        break;
      } catch (error) {
        if (tries === 300) throw error;
        await sleep(100);
      }
    }
  }
}

await run(cases);
