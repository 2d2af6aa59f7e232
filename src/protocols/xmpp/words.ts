/** What is said in XMPP before TLS, to clients and to servers. */
import { namespaces } from './stream.ts';

/** The namespace of a stream's content: of clients, or between servers. */
export type Content = 'jabber:client' | 'jabber:server';

/** Attributes that are undefined are left out. */
export function header(content: Content, attributes: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const all = [...given, ['version', '1.0'], ['xmlns', content], ['xmlns:stream', namespaces.streams]];
  return `<?xml version='1.0'?><stream:stream ${all.map(([name, value]) => `${name}='${value}'`).join(' ')}>`;
}

export const features = `<stream:features><starttls xmlns='${namespaces.tls}'><required/></starttls></stream:features>`;
export const starttls = `<starttls xmlns='${namespaces.tls}'/>`;
export const proceed = `<proceed xmlns='${namespaces.tls}'/>`;
export const end = '</stream:stream>';

/** An error, which ends the stream; RFC 6120 §4.9. */
export function streamError(condition: Condition, text: string): string {
  const [named, said] = [
    `<${condition} xmlns='${namespaces.errors}'/>`,
    `<text xmlns='${namespaces.errors}' xml:lang='en'>${text}</text>`,
  ];
  return `<stream:error>${named}${said}</stream:error>${end}`;
}

/** The conditions of RFC 6120 §4.9.3. Only these are logged of what a server says. */
const conditions = [
  'bad-format',
  'bad-namespace-prefix',
  'conflict',
  'connection-timeout',
  'host-gone',
  'host-unknown',
  'improper-addressing',
  'internal-server-error',
  'invalid-from',
  'invalid-namespace',
  'invalid-xml',
  'not-authorized',
  'not-well-formed',
  'policy-violation',
  'remote-connection-failed',
  'reset',
  'resource-constraint',
  'restricted-xml',
  'see-other-host',
  'system-shutdown',
  'undefined-condition',
  'unsupported-encoding',
  'unsupported-feature',
  'unsupported-stanza-type',
  'unsupported-version',
] as const;

export type Condition = (typeof conditions)[number];

export function conditionOf(name: string): Condition | undefined {
  return conditions.find((one) => one === name);
}

/** Whether it can stand in an attribute as it is, and is no longer than a name may be. */
export function isAddress(text: string): boolean {
  return /^[^\s<>&'"/\p{Cc}]{1,1023}$/u.test(text);
}
