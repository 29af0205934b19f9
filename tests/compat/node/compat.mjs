// What KurrentDB's Node clients do with Icecore, with asserted results: appends, reads, deletions,
// metadata, links, and appends to several streams at once.

import assert from "node:assert/strict";
import { IS_NEW, all, connect, db, event, events, expecting, ids, newName, revisions, run, until } from "./clients.mjs";

const { binaryEvent, START, END, BACKWARDS, NO_STREAM, STREAM_EXISTS, ANY } = db;
const wrong = (error) => error instanceof db.WrongExpectedVersionError;

const cases = {
  async appendsInEachForm(client) {
    const name = newName();
    const first = await client.appendToStream(name, [event(0), event(1)], expecting(NO_STREAM));
    assert.equal(Number(first.nextExpectedRevision), 1);
    const second = await client.appendToStream(name, event(2), expecting(1n));
    assert.ok(second.position.commit > first.position.commit);
    await client.appendToStream(name, event(3), expecting(STREAM_EXISTS));
    // With credentials the client takes the other call.
    const credentials = { username: "ada", password: "secret" };
    const third = await client.appendToStream(name, [event(4), event(5)], { ...expecting(3n), credentials });
    assert.equal(Number(third.nextExpectedRevision), 5);
    await client.appendToStream(name, event(6));
    const read = await all(client.readStream(name));
    assert.deepEqual(read.map(({ event }) => event.data.n), [0, 1, 2, 3, 4, 5, 6]);
    assert.equal(read[1].event.position.commit, first.position.commit);
    assert.equal(read[5].event.position.commit, third.position.commit);
    const refused = client.appendToStream(name, event(7), { ...expecting(3n), credentials });
    await assert.rejects(refused, wrong);
  },

  async conflicts(client) {
    const [name, absent] = [newName(), newName()];
    await client.appendToStream(name, [event(0), event(1)]);
    for (const state of [NO_STREAM, 0n, 7n]) {
      await assert.rejects(client.appendToStream(name, event(2), expecting(state)), wrong);
    }
    for (const state of [STREAM_EXISTS, 0n]) {
      await assert.rejects(client.appendToStream(absent, event(2), expecting(state)), wrong);
    }
    assert.deepEqual(await revisions(client.readStream(name)), [0, 1]);
  },

  async retriesAreWrittenOnce(client) {
    const name = newName();
    const written = events(4);
    const append = (state, from, to) =>
      client.appendToStream(name, written.slice(from, to), expecting(state));
    const first = await append(NO_STREAM, 0, 2);
    const second = await append(1n, 2, 3);
    for (const [state, from, to, answer] of [
      [NO_STREAM, 0, 2, first],
      [1n, 2, 3, second],
      [0n, 1, 3, second],
      [ANY, 2, 3, second],
      [STREAM_EXISTS, 0, 2, first],
    ]) {
      const again = await append(state, from, to);
      assert.deepEqual(again.position, answer.position);
      assert.equal(again.nextExpectedRevision, answer.nextExpectedRevision);
    }
    for (const state of [1n, ANY]) await assert.rejects(append(state, 2, 4), wrong);
    assert.deepEqual(await revisions(client.readStream(name)), [0, 1, 2]);
  },

  async manyAppendsAtOnce(client) {
    const name = newName();
    const written = Array.from({ length: 200 }, (_, n) => client.appendToStream(name, event(n), expecting(ANY)));
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
    assert.deepEqual([first.event.id, first.event.streamId], [json.id, name]);
    assert.equal(first.event.type, "OrderPlaced");
    assert.deepEqual(first.event.data, { n: 7 });
    assert.deepEqual(first.event.metadata, json.metadata);
    assert.ok(Math.abs(first.event.created - Date.now()) < 60_000);
    assert.deepEqual([...second.event.data], [0, 255]);
    assert.deepEqual([...second.event.metadata], [1]);
  },

  async readsInEachDirection(client) {
    const name = newName();
    await client.appendToStream(name, events(5));
    const read = (options) => revisions(client.readStream(name, options));
    assert.deepEqual(await read({ fromRevision: 3n }), [3, 4]);
    assert.deepEqual(await read({ fromRevision: 9n }), []);
    assert.deepEqual(await read({ maxCount: 2 }), [0, 1]);
    const back = { direction: BACKWARDS, fromRevision: END };
    assert.deepEqual(await read(back), [4, 3, 2, 1, 0]);
    assert.deepEqual(await read({ ...back, maxCount: 1 }), [4]);
    assert.deepEqual(await read({ ...back, fromRevision: 1n }), [1, 0]);
    await assert.rejects(all(client.readStream(newName())), db.StreamNotFoundError);
  },

  async readsOfAll(client) {
    const name = newName();
    await client.appendToStream(name, events(3));
    const read = async (options) => (await all(client.readAll(options))).map(({ event }) => event);
    const back = { direction: BACKWARDS, fromPosition: END };
    const [last, second, first] = await read({ ...back, maxCount: 3 });
    assert.deepEqual([last, second, first].map(({ revision }) => revision), [2n, 1n, 0n]);
    assert.deepEqual([last, second, first].map(({ streamId }) => streamId), [name, name, name]);
    const forwards = await read({ fromPosition: second.position });
    assert.deepEqual(forwards.map(({ id }) => id), [second.id, last.id]);
    const before = await read({ ...back, fromPosition: last.position, maxCount: 2 });
    assert.deepEqual(before.map(({ id }) => id), [second.id, first.id]);
    assert.equal((await read({ fromPosition: START, maxCount: 1 })).length, 1);
  },

  async filters(client) {
    const name = newName("wanted");
    const types = ["One", "Two", "One"];
    await client.appendToStream(name, types.map((type) => event(0, { type })));
    await client.appendToStream(newName(), event());
    // The older client filters subscriptions only.
    if (!IS_NEW) return;
    const [first] = await all(client.readStream(name, { maxCount: 1 }));
    const read = async (filter) =>
      (await all(client.readAll({ fromPosition: first.event.position, filter }))).map(({ event }) => event.type);
    assert.deepEqual(await read(db.eventTypeFilter({ prefixes: ["One"] })), ["One", "One"]);
    assert.deepEqual(await read(db.eventTypeFilter({ regex: "^Tw" })), ["Two"]);
    assert.deepEqual(await read(db.streamNameFilter({ prefixes: [name] })), types);
    assert.deepEqual(await read(db.streamNameFilter({ regex: "^(?!wanted)" })), ["OrderPlaced"]);
    assert.deepEqual(await read(db.excludeSystemEvents()), [...types, "OrderPlaced"]);
  },

  async deletions(client) {
    const name = newName();
    await client.appendToStream(name, event());
    await assert.rejects(client.deleteStream(name, { expectedRevision: 7n }), wrong);
    await assert.rejects(client.deleteStream(newName()), wrong);
    await client.deleteStream(name, { expectedRevision: 0n });
    await assert.rejects(all(client.readStream(name)), db.StreamNotFoundError);
    const exists = client.appendToStream(name, event(), expecting(STREAM_EXISTS));
    await assert.rejects(exists, db.StreamDeletedError);
    await client.appendToStream(name, event(), expecting(NO_STREAM));
    assert.deepEqual(await revisions(client.readStream(name)), [1]);
  },

  async tombstones(client) {
    const [name, unborn] = [newName(), newName()];
    await client.appendToStream(name, event());
    await assert.rejects(client.tombstoneStream(name, { expectedRevision: 7n }), wrong);
    await client.tombstoneStream(name, { expectedRevision: 0n });
    for (const call of [
      () => all(client.readStream(name)),
      () => client.appendToStream(name, event()),
      () => client.deleteStream(name),
      () => client.tombstoneStream(name),
      () => client.getStreamMetadata(name),
    ]) {
      await assert.rejects(call(), db.StreamDeletedError);
    }
    await client.tombstoneStream(unborn, { expectedRevision: NO_STREAM });
    await assert.rejects(client.appendToStream(unborn, event()), db.StreamDeletedError);
  },

  async metadata(client) {
    const name = newName();
    assert.equal((await client.getStreamMetadata(name)).metadata, undefined);
    await client.appendToStream(name, events(5));
    const metadata = { maxCount: 2, cacheControl: 60, acl: { readRoles: ["$admins"] }, mine: [1] };
    await client.setStreamMetadata(name, metadata, expecting(NO_STREAM));
    const read = await client.getStreamMetadata(name);
    assert.deepEqual([read.metadata.maxCount, read.metadata.cacheControl], [2, 60]);
    assert.deepEqual(read.metadata.mine, [1]);
    assert.deepEqual([read.metadata.acl.readRoles].flat(), ["$admins"]);
    assert.deepEqual(await revisions(client.readStream(`$$${name}`)), [0]);
    assert.deepEqual(await revisions(client.readStream(name)), [3, 4]);
    const again = client.setStreamMetadata(name, metadata, expecting(NO_STREAM));
    await assert.rejects(again, wrong);
    await client.setStreamMetadata(name, { truncateBefore: 4 }, expecting(0n));
    assert.deepEqual(await revisions(client.readStream(name)), [4]);
    await client.setStreamMetadata(name, { maxAge: 1 });
    await until(async () => (await revisions(client.readStream(name))).length === 0);
  },

  async links(client) {
    const [name, list] = [newName(), newName("list")];
    await client.appendToStream(name, [event(0), event(1)]);
    const link = (n) => binaryEvent({ type: "$>", data: Buffer.from(`${n}@${name}`) });
    // The last one leads nowhere.
    await client.appendToStream(list, [link(1), link(0), link(9)]);
    const plain = await all(client.readStream(list));
    assert.deepEqual(plain.map(({ event, link }) => [event.type, link]), Array(3).fill(["$>", undefined]));
    const found = await all(client.readStream(list, { resolveLinkTos: true }));
    assert.deepEqual(
      found.map(({ event, link }) => [event && Number(event.revision), Number(link.revision)]),
      [[1, 0], [0, 1], [undefined, 2]],
    );
    assert.deepEqual(found.slice(0, 2).map(({ event }) => event.streamId), [name, name]);
  },

  async discovery() {
    const client = connect("+discover");
    await client.appendToStream(newName(), event());
    await client.dispose();
  },
};

if (IS_NEW) {
  cases.severalStreamsAtOnce = async (client) => {
    const [a, b, c] = [newName(), newName(), newName()];
    const to = (streamName, expectedState, ...events) => ({ streamName, expectedState, events });
    const parts = [to(a, NO_STREAM, event(1), event(2)), to(b, ANY, event(3, { metadata: { user: "me" } }))];
    const answer = await client.multiStreamAppend(parts);
    assert.ok(answer.position > 0n);
    assert.deepEqual(answer.responses.map(({ streamName, revision }) => [streamName, revision]), [[a, 1n], [b, 0n]]);
    assert.equal((await client.multiStreamAppend(parts)).position, answer.position);
    const [third] = await all(client.readStream(b));
    assert.deepEqual(third.event.metadata, { user: "me" });
    const conflict = client.multiStreamAppend([to(c, ANY, event(3)), to(a, NO_STREAM, event(4))]);
    await assert.rejects(conflict, wrong);
    await assert.rejects(all(client.readStream(c)), db.StreamNotFoundError);
    assert.deepEqual(await revisions(client.readStream(a)), [0, 1]);
    await client.tombstoneStream(b);
    const closed = client.multiStreamAppend([to(c, ANY, event(5)), to(b, ANY, event(6))]);
    await assert.rejects(closed, db.StreamTombstonedError);
  };

  cases.recordsWithChecks = async (client) => {
    const [a, b, rule] = [newName(), newName(), newName()];
    await client.appendToStream(rule, event());
    const record = (streamName, n) => ({ streamName, record: event(n) });
    const check = (streamName, expectedState) => ({ type: db.STREAM_STATE, streamName, expectedState });
    const records = [record(a, 1), record(b, 2), record(a, 3)];
    const answer = await client.appendRecords(records, [check(rule, 0n), check(a, NO_STREAM)]);
    assert.deepEqual(answer.responses.map(({ streamName, revision }) => [streamName, revision]), [[a, 1n], [b, 0n]]);
    assert.deepEqual(ids(await all(client.readStream(a))), [records[0].record.id, records[2].record.id]);
    const refused = client.appendRecords([record(b, 4)], [check(rule, 7n), check(a, NO_STREAM)]);
    await assert.rejects(refused, ({ constructor, violations }) => {
      assert.equal(constructor, db.AppendConsistencyViolationError);
      assert.deepEqual(violations.map((each) => [each.checkIndex, each.streamName]), [[0, rule], [1, a]]);
      return true;
    });
    assert.deepEqual(await revisions(client.readStream(b)), [0]);
  };
}

await run(cases);
