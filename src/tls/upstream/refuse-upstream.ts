/**
 * The alert for an upstream whose certificate we refuse: RFC 8446 §6.2 requires one, and Node cannot send it.
 */
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
 * Call it before the handshake, and the returned function at the moment the handshake is done. Under
 * TLS 1.3, a fault is sent as an encrypted alert, our first record under this secret, after OpenSSL
 * has sent our own last handshake message; without a fault the secret is only forgotten. Before TLS
 * 1.3, the upstream sees a reset.
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
