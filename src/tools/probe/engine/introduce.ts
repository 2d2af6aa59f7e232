/** The first question: does the endpoint speak TLS at all, and if not, what does it speak? */
import { alertName, alerts, tls10, tls11, tls12, tls13 } from '../../../openssl/registries.ts';
import type { Protocol } from '../../../protocols/protocol.ts';
import { protocolNames, protocols } from '../../../protocols/table.ts';
import type { Reply } from './ask.ts';
import type { Asker } from './asker.ts';
import { Failure } from './failure.ts';
import type { Flight } from './flight.ts';
import { identify } from './identify.ts';
import { closeLink, openLink, type Way } from './link.ts';

const allVersions = [tls13, tls12, tls11, tls10];

/** What the endpoint chooses when offered everything. Throws a Failure that says why there is no TLS. */
export async function introduce(asker: Asker): Promise<Flight> {
  const { findings, questions, ask } = asker;
  const first = await ask({ versions: allVersions });
  findings.connectMs = first.connectMs;
  let reply = first;
  if (
    first.kind === 'alert' &&
    first.alert === alerts.no_application_protocol &&
    questions.alpn.length === 0
  ) {
    findings.demandsAlpn = true;
    reply = await ask({ versions: allVersions });
  } else if (first.kind !== 'flight' && first.kind !== 'not_tls') {
    // Some servers without TLS 1.3 fail if it is even offered.
    reply = await ask({ versions: allVersions.slice(1) });
  }
  if (reply.kind !== 'flight') throw await failureOf(first, asker);
  for (const version of allVersions) {
    if (version >= reply.version) findings.versions.set(version, version === reply.version);
  }
  return reply;
}

async function failureOf(reply: Reply, { questions }: Asker): Promise<Failure> {
  switch (reply.kind) {
    case 'not_tls':
    case 'malformed':
      return identify(reply.said);
    case 'alert':
      return alertFailure(alertName(reply.alert), questions.name);
    default:
      return (
        (await waitingForStarttls(questions)) ?? wordless[reply.kind === 'flight' ? 'closed' : reply.kind]
      );
  }
}

const hint =
  'it may speak no TLS, want STARTTLS, a PROXY header or a server name (--sni), or only answer addresses that it knows';
const wordless = {
  closed: new Failure('closed', 'it took the ClientHello and hung up without a word', { hint }),
  reset: new Failure('reset', 'it took the ClientHello and reset the connection', { hint }),
  silent: new Failure('silent', 'it took the connection and answered nothing to the ClientHello', {
    hint: 'it may speak no TLS and wait for something else; --timeout waits longer',
  }),
};

function alertFailure(alert: string, name: string | undefined): Failure {
  const asked =
    name === undefined ? 'no server name was sent: --sni NAME' : `it may not know "${name}": --sni NAME`;
  const hints: Readonly<Record<string, string>> = {
    unrecognized_name: asked,
    handshake_failure: `it takes none of the ciphers, groups or signatures known here, or ${asked}`,
    internal_error: `its log says more; ${asked}`,
    access_denied: `it denies this client, or ${asked}`,
    no_application_protocol: 'it takes none of the protocols offered: --alpn',
    protocol_version: 'it takes no version from TLS 1.0 to 1.3',
  };
  return new Failure('alert', `it speaks TLS, and refused the handshake with the alert ${alert}`, {
    alert,
    hint: hints[alert] ?? `its log says more; ${asked}`,
  });
}

/**
 * If clients must speak first, a server hangs up on a ClientHello or stays silent, so try one more connection
 * for each such protocol.
 */
async function waitingForStarttls({ way }: Asker['questions']): Promise<Failure | undefined> {
  if (way.starttls) return undefined;
  for (const name of protocolNames) {
    const { title, firstByte }: Protocol = protocols[name];
    if (firstByte === undefined || !(await answers({ ...way, starttls: name }))) continue;
    return new Failure('not_tls', `it speaks ${title}, where TLS has to be asked for`, {
      hint: `--starttls ${name}`,
    });
  }
  return undefined;
}

async function answers(way: Way): Promise<boolean> {
  try {
    await closeLink(await openLink(way));
    return true;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.kind === 'starttls_refused';
  }
}
