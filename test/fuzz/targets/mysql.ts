/** What MySQL says ahead of TLS and while a client logs in: the greeting of a server, what clients answer to ours, and the KILL of one. */
import assert from 'node:assert/strict';
import { can, common } from '../../../src/protocols/mysql/capabilities.ts';
import { greetingIn, readGreeting } from '../../../src/protocols/mysql/greeting.ts';
import { readKill } from '../../../src/protocols/mysql/kill.ts';
import { encodePacket, maxPayload } from '../../../src/protocols/mysql/packets.ts';
import { encodeLogin, readAnswer } from '../../../src/protocols/mysql/response.ts';
import { greetingOf, headOf, loginOf, serverNonce } from '../../support/mysql.ts';
import { assertFinal, assertSame, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'mysql',
  seeds: () => [
    greetingOf(),
    greetingOf({ plugin: 'caching_sha2_password', version: '5.5.5-10.11.19-MariaDB' }),
    encodePacket(0, Buffer.from('\xff\x10\x04#08004Too many connections', 'latin1')),
    Buffer.concat([encodePacket(1, headOf(common)), Buffer.from('160301', 'hex')]),
    encodePacket(1, loginOf(common, 'secret', serverNonce)),
    encodePacket(1, loginOf(common & ~can.longAuthData & ~can.attributes, '', serverNonce)),
    killQuery,
    Buffer.concat([Buffer.from([killQuery.length, 0, 0, 0, 0, 0, 0]), killQuery]),
    encodePacket(0, Buffer.from([0x0c, 1, 0, 0, 0x40])),
  ],
  tokens: [
    Buffer.from('mysql_native_password\0'),
    Buffer.from([0, 0, 0, 1]),
    Buffer.from([0x0a]),
    Buffer.from([0xfc, 0xff, 0xff]),
    headOf(common),
    Buffer.from('1073741825'),
  ],
  maxLength: 70_000,
  check(bytes) {
    checkGreeting(bytes);
    checkAnswer(bytes);
    for (const isCompressed of [false, true]) checkKill(bytes, isCompressed);
  },
};

const killQuery = encodePacket(0, Buffer.from('\x03KILL QUERY 1073741825'));

function checkKill(bytes: Buffer, isCompressed: boolean): void {
  const command = readKill(bytes, isCompressed);
  if (command === undefined) return;
  assert.ok(command.length <= bytes.length);
  const id = Number(command.name);
  assert.ok(id >= 2 ** 30 && id < 2 ** 31);
  assertSame(command.with(id), bytes.subarray(0, command.length), 'only the number changes');
}

function checkGreeting(bytes: Buffer): void {
  const codes = ['ERR_UPSTREAM_STARTTLS_INVALID', 'ERR_UPSTREAM_STARTTLS_REFUSED'] as const;
  const read = (part: Buffer) => outcomeOf(() => readGreeting(part), 'upstream', codes);
  const ours = read(bytes);
  assertFinal(bytes, ours, read);
  if (!('value' in ours)) return;
  if (ours.value === undefined) assert.ok(bytes.length < 4 + 1024);
  else greetingIn(ours.value);
}

function checkAnswer(bytes: Buffer): void {
  const codes = ['ERR_STARTTLS_INVALID', 'ERR_STARTTLS_STUFFED'] as const;
  const read = (part: Buffer) => outcomeOf(() => readAnswer(part, 1)?.kind, 'client', codes);
  const ours = read(bytes);
  // Once a request for TLS is complete, what follows it can still be refused.
  if (!('value' in ours) && ours.refused === 'ERR_STARTTLS_STUFFED') return;
  assertFinal(bytes, ours, read);
  if (!('value' in ours)) return;
  if (ours.value === undefined) assert.ok(bytes.length < 4 + maxPayload);
  if (ours.value !== 'login') return;
  const answer = readAnswer(bytes, 1);
  assert(answer?.kind === 'login');
  const { login } = answer;
  const capabilities = login.capabilities & common;
  const anew = encodeLogin(1, login, { capabilities, plugin: 'p', proof: serverNonce });
  if (anew.length > 4 + maxPayload) return;
  const again = readAnswer(anew, 1);
  assert(again?.kind === 'login');
  assertSame(again.login.user, login.user, 'the user stays the same');
  assertSame(again.login.database, login.database, 'and the database');
}
