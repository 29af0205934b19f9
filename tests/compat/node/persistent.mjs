// Persistent subscriptions and projections of KurrentDB's Node clients on Icecore, with asserted results.
//
// The server's address is in ICECORE, the client's package in CLIENT, and RESTART kills the server and
// starts it again.

import assert from "node:assert/strict";
import { execSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const PACKAGE = process.env.CLIENT;
const db = await import(PACKAGE);
const IS_NEW = PACKAGE === "@kurrent/kurrentdb-client";
const Client = IS_NEW ? db.KurrentDBClient : db.EventStoreDBClient;
const { jsonEvent, START } = db;

const connect = () =>
  Client.connectionString(`${IS_NEW ? "kurrentdb" : "esdb"}://${process.env.ICECORE}?tls=false`);
const newName = (prefix) => `${prefix}-${randomUUID()}`;
const ids = (resolved) => resolved.map(({ event }) => event.id);
const toStream = (settings = {}) =>
  db.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: START, ...settings });

async function put(client, stream, count, type = "OrderPlaced") {
  const events = Array.from({ length: count }, (_, n) => jsonEvent({ type, data: { n } }));
  await client.appendToStream(stream, events);
  return events.map(({ id }) => id);
}

/** The next events, each answered as it comes. */
async function take(subscription, count, answer = (event) => subscription.ack(event)) {
  const taken = [];
  for await (const event of subscription) {
    await answer(event);
    taken.push(event);
    if (taken.length === count) return taken;
  }
  throw new Error(`the subscription ended after ${taken.length} events`);
}

/** Leaves a group. What the client has of the call may hear later that the connection has gone. */
async function leave(subscription) {
  subscription.on("error", () => {});
  await subscription.unsubscribe();
}

/** Takes part in a group, and leaves it. */
async function consume(client, stream, group, count, answer) {
  const subscription = client.subscribeToPersistentSubscriptionToStream(stream, group);
  const taken = await take(subscription, count, answer && ((event) => answer(subscription, event)));
  await leave(subscription);
  return taken;
}

const cases = {
  async aStreamIsConsumedInOrder(client) {
    const [stream, group] = [newName("order"), newName("group")];
    const written = await put(client, stream, 3);
    await client.createPersistentSubscriptionToStream(stream, group, toStream());
    await assert.rejects(
      client.createPersistentSubscriptionToStream(stream, group, toStream()),
      db.PersistentSubscriptionExistsError,
    );
    assert.deepEqual(ids(await consume(client, stream, group, 3)), written);
    const more = await put(client, stream, 2);
    assert.deepEqual(ids(await consume(client, stream, group, 2)), more);
    const info = await client.getPersistentSubscriptionToStreamInfo(stream, group);
    assert.equal(info.groupName, group);
    const groups = await client.listPersistentSubscriptionsToStream(stream);
    assert.deepEqual(groups.map(({ groupName }) => groupName), [group]);
    await client.updatePersistentSubscriptionToStream(stream, group, toStream({ maxRetryCount: 3 }));
    const updated = await client.getPersistentSubscriptionToStreamInfo(stream, group);
    assert.equal(updated.settings.maxRetryCount, 3);
    await client.deletePersistentSubscriptionToStream(stream, group);
    await assert.rejects(
      client.deletePersistentSubscriptionToStream(stream, group),
      db.PersistentSubscriptionDoesNotExistError,
    );
  },

  async refusedEventsAreTriedAgainSkippedOrParkedAndReplayed(client) {
    const [stream, group] = [newName("order"), newName("group")];
    const [retried, skipped, parked] = await put(client, stream, 3);
    await client.createPersistentSubscriptionToStream(stream, group, toStream());
    let tries = 0;
    const seen = await consume(client, stream, group, 4, async (subscription, resolved) => {
      const { id } = resolved.event;
      if (id === skipped) await subscription.nack("skip", "not wanted", resolved);
      else if (id === parked) await subscription.nack("park", "cannot", resolved);
      else if (tries++ === 0) await subscription.nack("retry", "not yet", resolved);
      else await subscription.ack(resolved);
    });
    assert.deepEqual(ids(seen).sort(), [retried, retried, skipped, parked].sort());
    const count = async () =>
      (await client.getPersistentSubscriptionToStreamInfo(stream, group)).stats.parkedMessageCount;
    for (let n = 0; n < 100 && Number(await count()) === 0; n++) await sleep(100);
    assert.equal(Number(await count()), 1);
    await client.replayParkedMessagesToStream(stream, group);
    assert.deepEqual(ids(await consume(client, stream, group, 1)), [parked]);
  },

  async allStreamsAreConsumedThroughAFilter(client) {
    const [group, type] = [newName("group"), `T${randomUUID()}`];
    const written = await put(client, newName("order"), 2, type);
    await put(client, newName("order"), 5);
    await client.createPersistentSubscriptionToAll(
      group,
      db.persistentSubscriptionToAllSettingsFromDefaults({ startFrom: START }),
      { filter: db.eventTypeFilter({ prefixes: [type] }) },
    );
    const subscription = client.subscribeToPersistentSubscriptionToAll(group);
    assert.deepEqual(ids(await take(subscription, 2)), written);
    await leave(subscription);
  },

  async projectionsOfUsersKeepTheirBooks(client) {
    const name = newName("projection");
    await client.createProjection(name, "fromAll().when({ $init() { return {}; } })");
    const names = async () => (await client.listProjections()).map((each) => each.name);
    assert.ok((await names()).includes(name) && (await names()).includes("$by_category"));
    await client.disableProjection(name);
    assert.match((await client.getProjectionStatus(name)).status, /Stopped/);
    await assert.rejects(client.getProjectionState(name));
    await client.deleteProjection(name);
    assert.ok(!(await names()).includes(name));
  },

  async whatIsAcknowledgedStaysSoOverARestart(client) {
    const [stream, group] = [newName("order"), newName("group")];
    const written = await put(client, stream, 6);
    const settings = toStream({ checkPointLowerBound: 1, checkPointAfter: 100 });
    await client.createPersistentSubscriptionToStream(stream, group, settings);
    assert.deepEqual(ids(await consume(client, stream, group, 3)), written.slice(0, 3));
    await sleep(1_000);
    execSync(process.env.RESTART, { stdio: "inherit" });
    // The client learns by an error that its connection has gone.
    for (let tries = 0; ; tries++) {
      try {
        assert.deepEqual(ids(await consume(client, stream, group, 3)), written.slice(3));
        break;
      } catch (error) {
        if (tries === 50 || !(error instanceof db.UnavailableError)) throw error;
        await sleep(200);
      }
    }
  },
};

const client = connect();
for (const [name, run] of Object.entries(cases)) {
  await run(client);
  console.log(`${PACKAGE}: ${name}: ok`);
}
process.exit(0);
