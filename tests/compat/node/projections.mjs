// Projections of KurrentDB's Node clients on Icecore, with asserted results: those of the system as streams
// of links, and the books of those of users.

import assert from "node:assert/strict";
import { all, db, event, ids, newName, put, run } from "./clients.mjs";

const { START, END, BACKWARDS } = db;
const QUERY = "fromAll().when({ $init() { return {}; } })";

/** The events that the links of a stream lead to, after a look at the links themselves. */
async function linksIn(client, stream) {
  const plain = await all(client.readStream(stream));
  const resolved = await all(client.readStream(stream, { resolveLinkTos: true }));
  for (const { event, link } of plain) {
    assert.deepEqual([event.type, event.streamId, link], ["$>", stream, undefined]);
  }
  assert.deepEqual(
    plain.map(({ event }) => Buffer.from(event.data).toString()),
    resolved.map(({ event }) => `${event.revision}@${event.streamId}`),
  );
  assert.deepEqual(resolved.map(({ link }) => link.id), ids(plain));
  const back = { direction: BACKWARDS, fromRevision: END, resolveLinkTos: true };
  assert.deepEqual(ids(await all(client.readStream(stream, back))).reverse(), ids(resolved));
  return resolved;
}

const cases = {
  async streamsOfLinks(client) {
    const unique = newName("c").replaceAll("-", "");
    const [one, two] = [`${unique}-1`, `${unique}-2`];
    const mine = { type: unique, metadata: { $correlationId: unique } };
    const [first] = await put(client, one, 1, mine);
    const [other] = await put(client, one, 1);
    const [second] = await put(client, two, 1, mine);
    const category = await linksIn(client, `$ce-${unique}`);
    assert.deepEqual(ids(category), [first, other, second]);
    assert.deepEqual(category.map(({ event }) => event.streamId), [one, one, two]);
    assert.deepEqual(ids(await linksIn(client, `$et-${unique}`)), [first, second]);
    assert.deepEqual(ids(await linksIn(client, `$bc-${unique}`)), [first, second]);
    await assert.rejects(client.appendToStream(`$ce-${unique}`, event()));
    const options = { fromRevision: START, resolveLinkTos: true };
    const seen = [];
    for await (const { event } of client.subscribeToStream(`$ce-${unique}`, options)) {
      seen.push(event.id);
      if (seen.length === 3) await put(client, two, 1);
      if (seen.length === 4) break;
    }
    assert.deepEqual(seen.slice(0, 3), [first, other, second]);
    assert.equal(seen[3], (await linksIn(client, `$ce-${unique}`)).at(-1).event.id);
  },

  async theFirstEventOfEachStream(client) {
    const names = [newName(), newName()];
    const written = [await put(client, names[0], 2), await put(client, names[1], 2)];
    const newest = { direction: BACKWARDS, fromRevision: END, maxCount: 2, resolveLinkTos: true };
    const found = await all(client.readStream("$streams", newest));
    assert.deepEqual(ids(found), [written[1][0], written[0][0]]);
  },

  async booksAreKept(client) {
    const name = newName("projection");
    const status = () => client.getProjectionStatus(name);
    await client.createProjection(name, QUERY, { emitEnabled: true });
    await assert.rejects(client.createProjection(name, QUERY));
    const names = async () => (await client.listProjections()).map((each) => each.name);
    for (const each of [name, "$by_category", "$by_event_type", "$by_correlation_id", "$streams"]) {
      assert.ok((await names()).includes(each), each);
    }
    const created = await status();
    assert.deepEqual([created.name, created.status], [name, "Running"]);
    await client.disableProjection(name);
    assert.equal((await status()).status, "Stopped");
    await client.enableProjection(name);
    assert.equal((await status()).status, "Running");
    await client.updateProjection(name, `${QUERY};`);
    assert.ok((await status()).version > created.version);
    await client.resetProjection(name);
    assert.ok((await status()).epoch > created.epoch);
    await client.restartSubsystem();
    await assert.rejects(client.deleteProjection(name), /FAILED_PRECONDITION/);
    await client.disableProjection(name);
    await client.deleteProjection(name);
    assert.ok(!(await names()).includes(name));
    await assert.rejects(status(), db.NotFoundError);
  },

  async nothingIsComputed(client) {
    const name = newName("projection");
    await client.createProjection(name, QUERY);
    // The client is told what to do instead.
    for (const call of ["getProjectionState", "getProjectionResult"]) {
      await assert.rejects(client[call](name), /UNIMPLEMENTED.*subscribe to \$all/s);
      await assert.rejects(client[call](newName("projection")), db.NotFoundError);
    }
    await client.disableProjection(name);
    await client.deleteProjection(name);
  },
};

await run(cases);
