/**
 * The JavaScript client of NATS: connects as the JSON of its argument says, asks a question of itself with a header, with `streams` publishes to
 * one and reads it, and prints as JSON what came of it, or the error's message. With `key` in place of JSON it makes a key.
 */
import { connect, headers, nkeyAuthenticator, nkeys, StringCodec } from 'nats';

const codec = StringCodec();
const [argument = '{}'] = process.argv.slice(2);
console.log(JSON.stringify(argument === 'key' ? makeKey() : await run(JSON.parse(argument))));

function makeKey() {
  const key = nkeys.createUser();
  return { public: key.getPublicKey(), seed: codec.decode(key.getSeed()) };
}

async function run({ seed, streams, ...options }) {
  const authenticator = seed && { authenticator: nkeyAuthenticator(codec.encode(seed)) };
  let client;
  try {
    client = await connect({ reconnect: false, timeout: 20_000, ...options, ...authenticator });
    return { ...(await exchange(client)), ...(streams && { published: await publish(client) }) };
  } catch (error) {
    return { error: error.message };
  } finally {
    await client?.close();
  }
}

async function exchange(client) {
  const { tls_required, server_name } = client.info;
  client.subscribe('questions', {
    callback: (_, message) => message.respond(codec.encode(`${message.headers?.get('who')}: 42`)),
  });
  const header = headers();
  header.set('who', 'test');
  const answer = await client.request('questions', codec.encode('?'), { headers: header, timeout: 20_000 });
  return { answer: codec.decode(answer.data), tls_required, server_name };
}

/** To a stream of its own: its number there, and what was read of it. */
async function publish(client) {
  const manager = await client.jetstreamManager();
  await manager.streams.add({ name: 'orders', subjects: ['orders.*'], storage: 'memory' });
  const { seq } = await client.jetstream().publish('orders.new', codec.encode('one'));
  await manager.consumers.add('orders', { durable_name: 'reader' });
  const reader = await client.jetstream().consumers.get('orders', 'reader');
  const message = await reader.next({ expires: 20_000 });
  await manager.streams.delete('orders');
  return [seq, codec.decode(message.data)];
}
