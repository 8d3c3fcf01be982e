"""The mail clients that are driven: which program sends with each, and what must be installed for it."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
UNPACKED = Path(__file__).parent.parent.parent / "build" / "clients"  # Debian's packages that are not to be installed
NULLMAILER = UNPACKED / "usr/lib/nullmailer/smtp"
JAKARTA_MAIL = "/usr/share/java/jakarta-mail.jar"


@dataclass(frozen=True, kw_only=True)
class Client:
    """A mail client: the command that sends the mail, and what that needs.

    In commands and paths, {programs} is the folder of the programs, {built} the one for what `build` makes.
    """

    name: str
    run: str
    refusal: str  # what is printed when the password is wrong
    needs: tuple[str, ...] = ()  # commands in the PATH, and files
    package: str = ""  # what has them
    build: str = ""
    makes_html: bool = True

    def words(self, command: str, built: Path) -> list[str]:
        return [word.format(programs=PROGRAMS, built=built, python=sys.executable) for word in command.split()]

    def skip_unless_installed(self) -> None:
        for need in self.needs:
            path = need.format(programs=PROGRAMS)
            if not shutil.which(path) and not Path(path).exists():
                pytest.skip(f"{need.format(programs='programs')} is missing: install {self.package}")

    def __str__(self) -> str:
        return self.name


CLIENTS = [
    Client(name="smtplib", run="{python} {programs}/smtplib_send.py", refusal="smtplib.SMTPAuthenticationError: (535,"),
    Client(name="django", run="{python} {programs}/django_send.py", refusal="smtplib.SMTPAuthenticationError: (535,"),
    Client(
        name="flask-mail",
        run="{python} {programs}/flask_mail_send.py",
        refusal="smtplib.SMTPAuthenticationError: (535,",
    ),
    Client(
        name="curl",
        run="sh {programs}/curl.sh",
        needs=("curl",),
        package="Debian's curl",
        refusal="curl: (67) Login denied",
    ),
    Client(
        name="swaks",
        run="sh {programs}/swaks.sh",
        needs=("swaks",),
        package="Debian's swaks",
        refusal="*** No authentication type succeeded",
    ),
    Client(
        name="msmtp",
        run="sh {programs}/msmtp.sh",
        needs=("msmtp",),
        package="Debian's msmtp",
        refusal="authentication failed (method PLAIN)",
    ),
    Client(
        name="s-nail",
        run="sh {programs}/s-nail.sh",
        needs=("s-nail",),
        package="Debian's s-nail",
        refusal="s-nail: SMTP server: 535 5.7.8",
        makes_html=False,
    ),
    Client(
        name="nullmailer",
        run=f"sh {{programs}}/nullmailer.sh {NULLMAILER}",
        needs=(str(NULLMAILER),),
        package="Debian's nullmailer: see install.sh",
        refusal="535 5.7.8",
    ),
    Client(
        name="nodemailer",
        run="node {programs}/node/send.js",
        needs=("node", "{programs}/node/node_modules/nodemailer"),
        package="Debian's nodejs and npm, then `npm ci` in programs/node",
        refusal="code: 'EAUTH'",
    ),
    Client(
        name="phpmailer",
        run="php {programs}/phpmailer.php",
        needs=("php", "/usr/share/php/libphp-phpmailer/autoload.php"),
        package="Debian's php-cli and libphp-phpmailer",
        refusal="SMTP Error: Could not authenticate",
    ),
    Client(
        name="net-smtp-perl",
        run="perl {programs}/net_smtp.pl",
        needs=("perl", "/usr/share/perl5/Authen/SASL.pm", "/usr/share/perl5/IO/Socket/SSL.pm"),
        package="Debian's perl, libauthen-sasl-perl and libio-socket-ssl-perl",
        refusal="AUTH: 535",
    ),
    Client(
        name="ruby-mail",
        run="ruby {programs}/mail.rb",
        needs=("ruby", "/usr/lib/ruby/vendor_ruby/mail.rb"),
        package="Debian's ruby and ruby-mail",
        refusal="Net::SMTPAuthenticationError",
    ),
    Client(
        name="net-smtp-go",
        build="go build -o {built}/net_smtp_go {programs}/net_smtp.go",
        run="{built}/net_smtp_go",
        needs=("go",),
        package="Debian's golang-go",
        refusal="535 5.7.8",
    ),
    Client(
        name="jakarta-mail",
        build=f"javac -cp {JAKARTA_MAIL} -d {{built}} {{programs}}/JakartaMail.java",
        run=f"java -cp {JAKARTA_MAIL}:/usr/share/java/jakarta-activation.jar:{{built}} JakartaMail",
        needs=("javac", JAKARTA_MAIL),
        package="Debian's default-jdk-headless and libjakarta-mail-java",
        refusal="jakarta.mail.AuthenticationFailedException: 535",
    ),
]
