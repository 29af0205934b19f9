// KurrentDB's Node clients, and what the programs that try them share.
//
// The server's address is in ICECORE, the client's package in CLIENT, and RESTART kills the server and
// starts it again.

import { execSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export { sleep };
export const PACKAGE = process.env.CLIENT;
export const db = await import(PACKAGE);
export const IS_NEW = PACKAGE === "@kurrent/kurrentdb-client";
const Client = IS_NEW ? db.KurrentDBClient : db.EventStoreDBClient;
const SCHEME = IS_NEW ? "kurrentdb" : "esdb";

export const connect = (discovery = "") =>
  Client.connectionString(`${SCHEME}${discovery}://${process.env.ICECORE}?tls=false`);

/** How an append says what it expects; the older client has another word. */
export const expecting = (state) => ({ [IS_NEW ? "streamState" : "expectedRevision"]: state });

export const newName = (prefix = "order") => `${prefix}-${randomUUID()}`;
export const event = (n = 0, fields = {}) => db.jsonEvent({ type: "OrderPlaced", data: { n }, ...fields });
export const events = (count, fields) => Array.from({ length: count }, (_, n) => event(n, fields));

/** Appends so many events, and gives their ids. */
export async function put(client, stream, count, fields) {
  const written = events(count, fields);
  await client.appendToStream(stream, written);
  return written.map(({ id }) => id);
}

export async function all(read) {
  const found = [];
  for await (const resolved of read) found.push(resolved);
  return found;
}

export const ids = (resolved) => resolved.map(({ event }) => event.id);
export const revisions = async (read) => (await all(read)).map(({ event }) => Number(event.revision));

/** Waits for something that takes a moment. */
export async function until(condition) {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries === 300) throw new Error(`${condition} does not come true`);
    await sleep(100);
  }
}

export const restartServer = () => execSync(process.env.RESTART, { stdio: "inherit" });

/** Runs the cases one after the other, and ends the program: a client may keep it alive. */
export async function run(cases) {
  const client = connect();
  for (const [name, check] of Object.entries(cases)) {
    await check(client);
    console.log(`${PACKAGE}: ${name}: ok`);
  }
  process.exit(0);
}
