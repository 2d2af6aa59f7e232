/** Notices logins that fail because the client and the upstream see different certificates. */
import type { Stream } from '../net/stream.ts';
import type { Connection } from './state.ts';

/**
 * Watches the upstream of a connection whose TLS ends here and begins anew, as long as it logs in. Call it
 * when the splice reads already: a listener would otherwise start the stream before anybody takes its bytes.
 */
export function watchLogin(connection: Connection, { stream }: Stream): void {
  const route = connection.decision?.route;
  if (route?.kind !== 'terminate' || route.outbound.originator === undefined) return;
  const binding = route.outbound.protocol?.binding;
  if (binding === undefined) return;
  const watch = binding.watch();
  const onData = (chunk: Buffer) => {
    const outcome = watch(chunk);
    if (outcome === 'more') return;
    stream.off('data', onData);
    if (outcome === 'refused') {
      connection.loginFault = {
        code: 'ERR_CHANNEL_BINDING',
        error:
          'the upstream refused the login: it is bound to the certificate that the client was shown here',
        hint: binding.remedy,
      };
    }
  };
  stream.on('data', onData);
}
