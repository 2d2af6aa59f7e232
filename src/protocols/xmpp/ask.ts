/** Asks an XMPP server for TLS, RFC 6120 §5. */
import type { ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import { type Fault, noTls, serverFault } from '../faults.ts';
import { type Element, namespaces, XmlStream } from './stream.ts';
import { type Condition, type Content, conditionOf, header, isAddress, starttls } from './words.ts';

/** The domain that a stream is for, and the one that it comes from: between servers. */
export type Addresses = { readonly to: string | undefined; readonly from?: string | undefined };

export async function ask(content: Content, server: Peek, addresses: Addresses): Promise<undefined> {
  const stream = await begin(content, server, addresses, invalid);
  const features = await stream.element();
  if (is(features, 'error', namespaces.streams)) throw turnedAway(conditionIn(features));
  if (!is(features, 'features', namespaces.streams)) throw invalid('lists no features');
  if (!features?.children.some((child) => is(child, 'starttls', namespaces.tls))) throw notOffered();
  server.write(Buffer.from(starttls));
  const answer = await stream.element();
  if (is(answer, 'failure', namespaces.tls)) throw no();
  if (is(answer, 'error', namespaces.streams)) throw turnedAway(conditionIn(answer));
  if (!is(answer, 'proceed', namespaces.tls)) throw invalid('answers starttls with something else');
}

/** Sends a header, and reads the server's. */
export async function begin(
  content: Content,
  server: Peek,
  { to, from }: Addresses,
  fault: Fault,
): Promise<XmlStream> {
  const names = {
    from: from && isAddress(from) ? from : undefined,
    to: to && isAddress(to) ? to : 'localhost',
  };
  server.write(Buffer.from(header(content, names)));
  const stream = new XmlStream(server, fault);
  await stream.header();
  return stream;
}

export function is<T extends Pick<Element, 'name' | 'namespace'>>(
  element: T | undefined,
  name: string,
  namespace: string,
): boolean {
  return element?.name === name && element.namespace === namespace;
}

export function conditionIn(error: Element | undefined): Condition | undefined {
  return error?.children
    .filter(({ namespace }) => namespace === namespaces.errors)
    .map(({ name }) => conditionOf(name))
    .find((condition) => condition !== undefined);
}

function turnedAway(condition: Condition = 'undefined-condition'): ProxyError {
  return noTls(
    `the server ends the stream with ${condition}`,
    condition === 'host-unknown'
      ? "it does not serve that domain, which is the client's, or else server_name"
      : 'its log says why',
  );
}

function notOffered(): ProxyError {
  return noTls(
    'the server does not offer starttls',
    'give the server a certificate for that domain, or reach it in plain text by taking tls out of the upstream',
  );
}

function no(): ProxyError {
  return noTls(
    'the server answers starttls with failure',
    'its log says why; it may have no certificate for that domain',
  );
}

const invalid = serverFault(
  'check that the endpoint is an XMPP server; one that begins with TLS is reached without starttls',
);
