/** nodemailer: sends a mail as the JSON of its argument says, its options and `to`, and prints as JSON the server's answer, or the error's message. */
import { createTransport } from 'nodemailer';

const { to, ...options } = JSON.parse(process.argv[2]);
const transport = createTransport(options);
try {
  const mail = { from: 'anna@example.com', to, subject: 'by nodemailer', text: 'Hello.' };
  const { response } = await transport.sendMail(mail);
  console.log(JSON.stringify({ response }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
transport.close();
