/**
 * @xmpp/client: with the `service` of its argument, JSON, logs in to `domain` as `username` with `password`, pings that server or the one that
 * `ping` names, and prints as JSON its own address and the type of the answer, or the error's message. It trusts NODE_EXTRA_CA_CERTS.
 */
import { client, xml } from '@xmpp/client';

const { ping: to, ...options } = JSON.parse(process.argv[2]);
const xmpp = client(options);
let failure;
xmpp.on('error', (error) => {
  failure ??= error;
});
xmpp.reconnect.stop();
try {
  const patience = new Promise((_, reject) =>
    setTimeout(() => reject(new Error('it takes too long')), 20_000),
  );
  await Promise.race([xmpp.start(), patience]);
  const ping = xml('iq', { type: 'get', to: to ?? options.domain }, xml('ping', 'urn:xmpp:ping'));
  const { attrs } = await xmpp.iqCaller.request(ping);
  console.log(JSON.stringify({ jid: xmpp.jid.bare().toString(), type: attrs.type }));
  await xmpp.stop();
} catch (error) {
  console.log(JSON.stringify({ error: (failure ?? error).message }));
}
process.exit();
