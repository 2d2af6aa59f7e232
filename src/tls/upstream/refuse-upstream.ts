/** The alert for an upstream whose certificate we refuse: RFC 8446 §6.2 wants an alert, and Node has no call that sends one. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Code, ProxyError } from '../../errors.ts';
import { partWith } from '../../net/stream.ts';
import { type SealedAlert, sealAlert, secretIn } from '../server/sealed-alert.ts';

const alerts: Partial<Record<Code, SealedAlert>> = {
  ERR_UPSTREAM_CERT_UNTRUSTED: 'unknown_ca',
  ERR_UPSTREAM_CERT_NAME: 'bad_certificate',
  ERR_UPSTREAM_CERT_NOT_PINNED: 'certificate_unknown',
};

/**
 * To be made before the handshake; the function returned is called in the moment when it is done. Under TLS 1.3 it seals the
 * alert as our first record, which nothing has gone before, once OpenSSL has sent our own last message; without a fault it only
 * forgets the secret. Before TLS 1.3 the upstream sees a reset.
 */
export function createRefusal(raw: Socket, stream: TLSSocket): (fault: ProxyError | undefined) => void {
  let line: Buffer | undefined;
  stream.on('keylog', (one) => {
    if (one.toString('latin1', 0, label.length) === label) line = one;
  });
  return (fault) => {
    const secret = fault && line && secretIn(line, label);
    line?.fill(0);
    line = undefined;
    if (!secret) return;
    const suite = stream.getCipher().standardName;
    const alert = alerts[fault.code];
    const record = alert && sealAlert(alert, { secret, suite, sequence: 0 });
    secret.fill(0);
    if (record) partWith(raw, record, stream);
  };
}

const label = 'CLIENT_TRAFFIC_SECRET_0';
