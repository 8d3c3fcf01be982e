// Sends one mail with net/smtp, which carries bytes: what composes the mail stands here.
//
// smtp.SendMail trusts the system's authorities, or those of SSL_CERT_FILE.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
)

func main() {
	host := os.Getenv("SMTP_HOST")
	auth := smtp.PlainAuth("", os.Getenv("SMTP_USER"), os.Getenv("SMTP_PASSWORD"), host)
	recipients := []string{os.Getenv("MAIL_TO"), os.Getenv("MAIL_BCC")}
	err := smtp.SendMail(host+":"+os.Getenv("SMTP_PORT"), auth, os.Getenv("MAIL_FROM"), recipients, compose())
	if err != nil {
		log.Fatal(err)
	}
}

func compose() []byte {
	var alternative bytes.Buffer
	bodies := multipart.NewWriter(&alternative)
	writeText(bodies, "text/plain; charset=utf-8", os.Getenv("MAIL_TEXT"))
	writeText(bodies, "text/html; charset=utf-8", os.Getenv("MAIL_HTML"))
	bodies.Close()

	var message bytes.Buffer
	parts := multipart.NewWriter(&message)
	sender := mail.Address{Name: os.Getenv("MAIL_FROM_NAME"), Address: os.Getenv("MAIL_FROM")}
	fmt.Fprintf(&message, "From: %s\r\n", sender.String())
	fmt.Fprintf(&message, "To: %s\r\n", os.Getenv("MAIL_TO"))
	fmt.Fprintf(&message, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", os.Getenv("MAIL_SUBJECT")))
	fmt.Fprintf(&message, "MIME-Version: 1.0\r\n")
	fmt.Fprintf(&message, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", parts.Boundary())

	body, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type": {"multipart/alternative; boundary=" + bodies.Boundary()},
	})
	body.Write(alternative.Bytes())
	writeFile(parts, "application/pdf", os.Getenv("MAIL_ATTACHMENT"))
	parts.Close()
	return message.Bytes()
}

func writeText(parts *multipart.Writer, contentType, text string) {
	part, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {contentType},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	encoder := quotedprintable.NewWriter(part)
	encoder.Write([]byte(text))
	encoder.Close()
}

func writeFile(parts *multipart.Writer, contentType, path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	name := mime.FormatMediaType("attachment", map[string]string{"filename": filepath.Base(path)})
	part, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {contentType},
		"Content-Disposition":       {name},
		"Content-Transfer-Encoding": {"base64"},
	})
	text := base64.StdEncoding.EncodeToString(content)
	for ; len(text) > 76; text = text[76:] {
		fmt.Fprintf(part, "%s\r\n", text[:76])
	}
	fmt.Fprintf(part, "%s\r\n", text)
}
