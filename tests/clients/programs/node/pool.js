// Sends MAIL_COUNT mails with nodemailer over a pool of two connections.
const { readFileSync } = require("node:fs");
const nodemailer = require("nodemailer");

const env = process.env;
const transport = nodemailer.createTransport({
  host: env.SMTP_HOST,
  port: Number(env.SMTP_PORT),
  secure: false,
  requireTLS: true,
  auth: { user: env.SMTP_USER, pass: env.SMTP_PASSWORD },
  tls: { ca: readFileSync(env.SMTP_CA) },
  pool: true,
  maxConnections: 2,
});

const mails = Array.from({ length: Number(env.MAIL_COUNT) }, (_, number) => ({
  from: { name: env.MAIL_FROM_NAME, address: env.MAIL_FROM },
  to: env.MAIL_TO,
  subject: `${env.MAIL_SUBJECT} ${number}`,
  text: env.MAIL_TEXT,
}));

Promise.all(mails.map((mail) => transport.sendMail(mail)))
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => transport.close());
