/** LDAP's messages, as far as they are said before TLS (RFC 4511). Pure: bytes in, bytes out. */
import type { Fault } from '../faults.ts';
import { type Element, elementsIn, encode, extentOf } from './ber.ts';

/** Far more than what precedes TLS needs, though a client may begin with a bind that carries a ticket. */
export const maxMessage = 16 * 1024;

/** `id` is an INTEGER as it came, to be echoed; `length` that of the whole message. */
export type Message = {
  readonly id: Buffer;
  readonly operation: Element;
  readonly controls: readonly Control[];
  readonly length: number;
};

type Control = { readonly isCritical: boolean };

/**
 * The first message, given all that has arrived; undefined if more is needed. Throws what `fault` returns as
 * soon as it cannot become a message of at most `maxMessage` bytes.
 */
export function readMessage(bytes: Buffer, fault: Fault): Message | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] !== tags.sequence) throw fault('does not speak LDAP');
  const extent = extentOf(bytes);
  if (extent === undefined) return undefined;
  if (extent === 'invalid') throw fault('sends a message without a length');
  const { start, end } = extent;
  if (end > maxMessage) throw fault(`sends a message of more than ${maxMessage} bytes`);
  if (bytes.length < end) return undefined;
  const message = messageIn(bytes.subarray(start, end));
  if (message === undefined) throw fault('sends a malformed message');
  return { ...message, length: end };
}

// LDAPMessage ::= SEQUENCE { messageID INTEGER (0 .. maxInt), protocolOp CHOICE { … },
//   controls [0] Controls OPTIONAL }
function messageIn(content: Buffer): Omit<Message, 'length'> | undefined {
  const [id, operation, controls, ...rest] = elementsIn(content) ?? [];
  if (id === undefined || operation === undefined || rest.length > 0) return undefined;
  if (id.tag !== tags.integer || !isMessageId(id.content)) return undefined;
  if (controls && controls.tag !== tags.controls) return undefined;
  const found = controlsIn(controls?.content ?? Buffer.alloc(0));
  return found && { id: id.content, operation, controls: found };
}

function isMessageId({ length, 0: first = 0x80 }: Buffer): boolean {
  return length <= 4 && first < 0x80;
}

// Control ::= SEQUENCE { controlType LDAPOID, criticality BOOLEAN DEFAULT FALSE,
//   controlValue OCTET STRING OPTIONAL }
function controlsIn(content: Buffer): Control[] | undefined {
  const found = elementsIn(content)?.map((control) => {
    const [type, second] = (control.tag === tags.sequence && elementsIn(control.content)) || [];
    if (type?.tag !== tags.octets) return undefined;
    return { isCritical: second?.tag === tags.boolean && second.content[0] !== 0 };
  });
  return found?.every((control) => control !== undefined) ? found : undefined;
}

/** What an ExtendedRequest asks for; undefined if it is malformed. */
export function extendedIn({ content }: Element): { name: string; hasValue: boolean } | undefined {
  // [APPLICATION 23] SEQUENCE { requestName [0] LDAPOID, requestValue [1] OCTET STRING OPTIONAL }
  const [name, value, ...rest] = elementsIn(content) ?? [];
  if (name?.tag !== 0x80 || rest.length > 0 || (value && value.tag !== 0x81)) return undefined;
  return { name: name.content.toString('latin1'), hasValue: value !== undefined };
}

/** The code of a result; undefined if it is malformed. */
export function resultCodeIn({ content }: Element): number | undefined {
  // COMPONENTS OF LDAPResult: resultCode ENUMERATED, matchedDN, diagnosticMessage, …
  const [code, matched, text] = elementsIn(content) ?? [];
  if (code?.tag !== tags.enumerated || code.content.length !== 1) return undefined;
  return matched?.tag === tags.octets && text?.tag === tags.octets ? code.content[0] : undefined;
}

export function encodeMessage(id: Buffer, operation: Buffer): Buffer {
  return encode(tags.sequence, encode(tags.integer, id), operation);
}

/** A response that consists of a result, and of a name if it is one of an extended operation. */
export function encodeResult(id: Buffer, tag: number, code: number, text: string, name?: string): Buffer {
  const fields = [encode(tags.enumerated, Buffer.of(code)), encode(tags.octets), encode(tags.octets, text)];
  const last = name === undefined ? [] : [encode(tags.responseName, name)];
  return encodeMessage(id, encode(tag, ...fields, ...last));
}

/** A request for TLS, RFC 4511 §4.14.1. */
export function encodeStartTls(id: Buffer): Buffer {
  return encodeMessage(id, encode(operations.extendedRequest, encode(0x80, startTls)));
}

export const startTls = '1.3.6.1.4.1.1466.20037';

/** Tags of what messages consist of. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  octets: 0x04,
  enumerated: 0x0a,
  sequence: 0x30,
  controls: 0xa0,
  responseName: 0x8a,
} as const;

/** Tags of operations. */
export const operations = {
  unbind: 0x42,
  search: 0x63,
  searchDone: 0x65,
  extendedRequest: 0x77,
  extendedResponse: 0x78,
  abandon: 0x50,
} as const;

/** In what operation each request is answered: a search by its end, an abandon and an unbind by nothing. */
export const responseTo: Readonly<Record<number, number | undefined>> = {
  96: 0x61, // bind
  [operations.search]: operations.searchDone,
  102: 0x67, // modify
  104: 0x69, // add
  74: 0x6b, // delete
  108: 0x6d, // modify DN
  110: 0x6f, // compare
  [operations.extendedRequest]: operations.extendedResponse,
};

/** RFC 4511, appendix A. */
export const results = {
  success: 0,
  protocolError: 2,
  unavailableCriticalExtension: 12,
  confidentialityRequired: 13,
  busy: 51,
  unavailable: 52,
} as const;
