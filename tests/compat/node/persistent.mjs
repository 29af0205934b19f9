// Persistent subscriptions of KurrentDB's Node clients on Icecore, with asserted results.

import assert from "node:assert/strict";
import { db, ids, newName, put, restartServer, run, sleep, until } from "./clients.mjs";

const { START } = db;
const toStream = (settings = {}) =>
  db.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: START, ...settings });
const toAll = (settings = {}) =>
  db.persistentSubscriptionToAllSettingsFromDefaults({ startFrom: START, ...settings });
const exists = db.PersistentSubscriptionExistsError;
const doesNotExist = db.PersistentSubscriptionDoesNotExistError;

/** The next events, each answered as it comes. */
async function take(subscription, count, answer = (event) => subscription.ack(event)) {
  const taken = [];
  for await (const event of subscription.iterator({ destroyOnReturn: false })) {
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

const join = (client, stream, group) => client.subscribeToPersistentSubscriptionToStream(stream, group);

/** Takes part in a group, and leaves it when the server has heard what was answered. */
async function consume(client, stream, group, count, answer) {
  const subscription = join(client, stream, group);
  const taken = await take(subscription, count, answer && ((event) => answer(subscription, event)));
  await until(async () => {
    const { stats } = await client.getPersistentSubscriptionToStreamInfo(stream, group);
    return Number(stats.totalInFlightMessages) === 0;
  });
  await leave(subscription);
  return taken;
}

/** A new stream with events, and a group on it. */
async function begin(client, count, settings) {
  const [stream, group] = [newName(), newName("group")];
  const written = await put(client, stream, count);
  await client.createPersistentSubscriptionToStream(stream, group, toStream(settings));
  const info = () => client.getPersistentSubscriptionToStreamInfo(stream, group);
  const untilParked = (count) => until(async () => Number((await info()).stats.parkedMessageCount) === count);
  return { stream, group, written, info, untilParked };
}

const cases = {
  async aStreamIsConsumedInOrder(client) {
    const { stream, group, written, info } = await begin(client, 3);
    const again = client.createPersistentSubscriptionToStream(stream, group, toStream());
    await assert.rejects(again, exists);
    assert.deepEqual(ids(await consume(client, stream, group, 3)), written);
    const more = await put(client, stream, 2);
    assert.deepEqual(ids(await consume(client, stream, group, 2)), more);
    assert.equal((await info()).groupName, group);
    const groups = await client.listPersistentSubscriptionsToStream(stream);
    assert.deepEqual(groups.map(({ groupName }) => groupName), [group]);
    const all = await client.listAllPersistentSubscriptions();
    assert.ok(all.some(({ groupName }) => groupName === group));
    await client.updatePersistentSubscriptionToStream(stream, group, toStream({ maxRetryCount: 3 }));
    assert.equal((await info()).settings.maxRetryCount, 3);
    await client.deletePersistentSubscriptionToStream(stream, group);
    for (const call of [
      () => client.deletePersistentSubscriptionToStream(stream, group),
      () => client.updatePersistentSubscriptionToStream(stream, group, toStream()),
      () => client.replayParkedMessagesToStream(stream, group),
      info,
    ]) {
      await assert.rejects(call(), doesNotExist);
    }
  },

  async refusedEventsAreTriedAgainSkippedOrParkedAndReplayed(client) {
    const { stream, group, written, untilParked } = await begin(client, 3);
    const [retried, skipped, parked] = written;
    const seen = await consume(client, stream, group, 4, async (subscription, resolved) => {
      const { id } = resolved.event;
      if (id === skipped) await subscription.nack("skip", "not wanted", resolved);
      else if (id === parked) await subscription.nack("park", "cannot", resolved);
      else if (resolved.retryCount === 0) await subscription.nack("retry", "not yet", resolved);
      else await subscription.ack(resolved);
    });
    const tried = seen.map(({ event, retryCount }) => `${event.id} ${retryCount}`);
    assert.deepEqual(tried.sort(), [`${retried} 0`, `${retried} 1`, `${skipped} 0`, `${parked} 0`].sort());
    await untilParked(1);
    await client.replayParkedMessagesToStream(stream, group);
    assert.deepEqual(ids(await consume(client, stream, group, 1)), [parked]);
    await untilParked(0);
  },

  async whoeverFailsTooOftenIsParked(client) {
    const { stream, group, untilParked } = await begin(client, 1, { maxRetryCount: 2 });
    const nack = (subscription, event) => subscription.nack("retry", "not yet", event);
    const tried = await consume(client, stream, group, 3, nack);
    assert.deepEqual(tried.map(({ retryCount }) => retryCount), [0, 1, 2]);
    await untilParked(1);
  },

  async consumersShareAndGiveBack(client) {
    const { stream, group, written } = await begin(client, 10, { messageTimeout: 1_000 });
    const slow = join(client, stream, group);
    assert.deepEqual(ids(await take(slow, 10, () => {})), written);
    const other = join(client, stream, group);
    const again = await take(other, 1);
    assert.equal(again[0].retryCount, 1);
    await leave(slow);
    again.push(...(await take(other, 9)));
    assert.deepEqual(ids(again).sort(), [...written].sort());
    await leave(other);
  },

  async whoeverStopsLeaves(client) {
    const { stream, group, written } = await begin(client, 2);
    const stopping = join(client, stream, group);
    const stop = async () => {
      for await (const event of stopping) await stopping.nack("stop", "enough", event);
    };
    await assert.rejects(stop(), db.PersistentSubscriptionDroppedError);
    assert.deepEqual(ids(await consume(client, stream, group, 2)), written);
  },

  async allStreamsAreConsumedThroughAFilter(client) {
    const [group, type] = [newName("group"), newName("T")];
    const written = await put(client, newName(), 2, { type });
    await put(client, newName(), 5);
    const filter = db.eventTypeFilter({ prefixes: [type] });
    const create = () => client.createPersistentSubscriptionToAll(group, toAll(), { filter });
    await create();
    await assert.rejects(create(), exists);
    const subscription = client.subscribeToPersistentSubscriptionToAll(group);
    assert.deepEqual(ids(await take(subscription, 2)), written);
    const more = await put(client, newName(), 2, { type });
    const park = (event) => subscription.nack("park", "cannot", event);
    assert.deepEqual(ids(await take(subscription, 2, park)), more);
    const info = () => client.getPersistentSubscriptionToAllInfo(group);
    await until(async () => Number((await info()).stats.parkedMessageCount) === 2);
    await client.replayParkedMessagesToAll(group);
    assert.deepEqual(ids(await take(subscription, 2)), more);
    await leave(subscription);
    await client.updatePersistentSubscriptionToAll(group, toAll({ maxRetryCount: 3 }));
    const { eventSource, settings } = await info();
    assert.deepEqual([eventSource, settings.maxRetryCount], ["$all", 3]);
    const groups = await client.listPersistentSubscriptionsToAll();
    assert.ok(groups.some(({ groupName }) => groupName === group));
    await client.deletePersistentSubscriptionToAll(group);
    await assert.rejects(client.deletePersistentSubscriptionToAll(group), doesNotExist);
    await assert.rejects(info(), doesNotExist);
  },

  async streamsAreChosenByTheirNames(client) {
    const [group, name] = [newName("group"), newName("wanted")];
    await put(client, newName(), 2);
    const written = await put(client, name, 2);
    const filter = db.streamNameFilter({ regex: `^${name}$` });
    await client.createPersistentSubscriptionToAll(group, toAll(), { filter });
    const subscription = client.subscribeToPersistentSubscriptionToAll(group);
    assert.deepEqual(ids(await take(subscription, 2)), written);
    await leave(subscription);
    await client.restartPersistentSubscriptionSubsystem();
    assert.equal((await client.getPersistentSubscriptionToAllInfo(group)).groupName, group);
  },

  async aCategoryIsConsumedByItsLinks(client) {
    const [category, group] = [newName("c").replaceAll("-", ""), newName("group")];
    const written = [...(await put(client, `${category}-1`, 2)), ...(await put(client, `${category}-2`, 1))];
    const links = `$ce-${category}`;
    await client.createPersistentSubscriptionToStream(links, group, toStream({ resolveLinkTos: true }));
    const taken = await consume(client, links, group, 3);
    assert.deepEqual(ids(taken), written);
    assert.deepEqual(taken.map(({ link }) => link.streamId), Array(3).fill(links));
  },

  async whatIsAcknowledgedStaysSoOverARestart(client) {
    const settings = { checkPointLowerBound: 1, checkPointAfter: 100 };
    const { stream, group, written, info } = await begin(client, 6, settings);
    const subscription = join(client, stream, group);
    assert.deepEqual(ids(await take(subscription, 3)), written.slice(0, 3));
    await until(async () => Number((await info()).stats.lastCheckpointedEventRevision) === 2);
    await leave(subscription);
    restartServer();
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

await run(cases);
