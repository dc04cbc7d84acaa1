//! The command line: arguments, exit codes, and where output goes.

mod admin;
mod plugin;
mod script;
mod send;
mod serve;
mod template;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::app::App;
use crate::config::{Config, process_env};
use crate::error::Error;
use crate::runtime::gateway;

pub(crate) use serve::{Listening, listen_and_serve};

#[derive(Parser)]
#[command(
    name = "recado",
    version,
    about = "A notification gateway: one endpoint, every channel, and a log that can say what happened"
)]
struct Arguments {
    /// The configuration file; by default ./config.toml when there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    Serve,
    /// Bring the store's schema up to date
    Migrate,
    /// Try it: an embedded store, a salon with two branches, every channel captured
    Demo {
        /// Where to listen; 0 picks a free port
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Keep the data in this folder instead of a temporary one
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Channels
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Channels that scripts describe
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Scripts that decide: segments, campaigns, routes
    #[command(subcommand)]
    Script(ScriptCommand),
    /// Templates: what is said, by channel and language
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Send a notification through the running server
    Send(SendArguments),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Name every fault of the configuration; exit code 78 when there is one
    Check,
    /// Show what is in force and where each value comes from, without secrets
    Print,
}

#[derive(Subcommand)]
enum TenantCommand {
    /// Create a tenant
    Create {
        #[arg(long)]
        name: String,
        /// ISO code of the country, e.g. MX
        #[arg(long)]
        country: Option<String>,
        /// Language tag, e.g. es-MX
        #[arg(long)]
        locale: Option<String>,
        /// IANA zone, e.g. America/Mexico_City
        #[arg(long)]
        timezone: Option<String>,
    },
    /// List tenants
    List,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Create an API key; it is shown once
    #[command(group = ArgGroup::new("owner").args(["tenant", "operator"]).required(true))]
    Create {
        /// The tenant it belongs to
        #[arg(long)]
        tenant: Option<String>,
        /// An operator's key: any tenant, with the header X-Tenant-Id
        #[arg(long)]
        operator: bool,
        #[arg(long, default_value = "send,read,admin")]
        scopes: String,
        #[arg(long, default_value = "command line")]
        name: String,
    },
    /// List a tenant's keys, or the operator's
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Revoke a key
    Revoke { id: String },
}

#[derive(Subcommand)]
enum ChannelsCommand {
    /// Every channel and its state
    List {
        /// May be left out when there is only one
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Ask channels whether they would take a message; nobody gets one
    Test {
        /// May be left out when there is only one
        #[arg(long)]
        tenant: Option<String>,
        /// One channel; all of them when left out
        channel: Option<String>,
    },
}

#[derive(Subcommand)]
enum PluginCommand {
    /// Try a plugin's folder without a network: manifest, script, and cases.json; exit code 78 when one is wrong
    Check {
        /// The folder with plugin.toml and plugin.rhai
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
enum ScriptCommand {
    /// Try a script, or a folder of them: compile it, look for its functions, run <name>.cases.json beside it; exit code
    /// 78 when something is wrong
    Check {
        /// A file <name>.rhai, or a folder
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum TemplateCommand {
    /// Judge a folder of templates (<name>/<part>.hbs) as a tenant's, and show each with its sample.json; exit code 78 when
    /// one is wrong
    Check {
        /// One template's folder, a set of them, or a folder of sets
        dir: PathBuf,
    },
}

#[derive(Args)]
#[command(group = ArgGroup::new("words").args(["template", "message"]).required(true))]
struct SendArguments {
    #[arg(long)]
    tenant: String,
    /// A phone or an e-mail address
    #[arg(long)]
    to: String,
    #[arg(long)]
    channel: Option<String>,
    /// The template's name
    #[arg(long)]
    template: Option<String>,
    /// The template's data, as a JSON object
    #[arg(long, requires = "template")]
    data: Option<String>,
    /// A literal text
    #[arg(long)]
    message: Option<String>,
}

/// Exit codes as in `sysexits.h`.
const USAGE: u8 = 64;
const NO_INPUT: u8 = 66;
const SOFTWARE: u8 = 70;
const CONFIG: u8 = 78;

/// What a command ends with: a line for stderr and a code.
pub(crate) struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    fn no_input(message: impl Into<String>) -> Self {
        Self { code: NO_INPUT, message: message.into() }
    }

    fn config(message: impl Into<String>) -> Self {
        Self { code: CONFIG, message: message.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(e: anyhow::Error) -> Self {
        Self { code: SOFTWARE, message: format!("{e:#}") }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self { code: SOFTWARE, message: e.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        match e {
            Error::NotFound => Self::no_input("not found"),
            Error::Refused { slug, detail } => Self::usage(format!("{slug}: {detail}")),
            Error::Invalid { faults, .. } => {
                let lines: Vec<_> = faults.iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect();
                Self::usage(lines.join("; "))
            }
            other => Self { code: SOFTWARE, message: other.to_string() },
        }
    }
}

pub(crate) type Done = Result<(), Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        Err(e) if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = e.print();
            return ExitCode::from(USAGE);
        }
        Err(e) => {
            // One line: what is wrong, and where to read on.
            let text = e.to_string();
            let told = |line: &&str| !line.starts_with("Usage") && !line.starts_with("For more information");
            let first: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).take_while(told).collect();
            let _ = writeln!(
                std::io::stderr(),
                "recado: {} (see recado --help)",
                first.join(" ").trim_start_matches("error: ")
            );
            return ExitCode::from(USAGE);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "recado: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: Arguments) -> Done {
    let json = arguments.json;
    if let Command::Demo { port, data } = &arguments.command {
        return gateway()?.block_on(crate::demo::run(*port, data.clone(), json));
    }
    if let Command::Plugin(PluginCommand::Check { dir }) = &arguments.command {
        return gateway()?.block_on(plugin::check(dir, json));
    }
    if let Command::Script(ScriptCommand::Check { file }) = &arguments.command {
        return gateway()?.block_on(script::check(file, json));
    }
    if let Command::Template(TemplateCommand::Check { dir }) = &arguments.command {
        return template::check(dir, json);
    }
    let loaded = load(&arguments);
    if let Command::Config(ConfigCommand::Check) = arguments.command {
        return admin::config_check(loaded, json);
    }
    let config = loaded?;
    gateway()?.block_on(async {
        match arguments.command {
            Command::Serve => serve::serve(config, arguments.config).await,
            Command::Migrate => admin::migrate(config, json).await,
            Command::Config(_) => admin::config_print(&config, json),
            Command::Tenant(command) => admin::tenant(config, command, json).await,
            Command::Key(command) => admin::key(config, command, json).await,
            Command::Channels(command) => admin::channels(config, command, json).await,
            Command::Send(command) => send::send(config, command, json).await,
            Command::Demo { .. } | Command::Plugin(_) | Command::Script(_) | Command::Template(_) => Ok(()),
        }
    })
}

fn load(arguments: &Arguments) -> Result<Config, Failure> {
    Config::load(arguments.config.as_deref(), process_env()).map_err(|e| Failure::config(e.to_string()))
}

/// Opens the store for a command that ends at once.
async fn open(config: Config) -> Result<Arc<App>, Failure> {
    let _ = tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).try_init();
    App::build(config, None).await.map_err(start_failure)
}

/// A channel nobody knows, or a key file of no use, is the configuration's fault.
fn start_failure(e: anyhow::Error) -> Failure {
    let text = format!("{e:#}");
    if ["channels.", "auth.", "secrets.key_file", "paths."].iter().any(|section| text.starts_with(section)) {
        return Failure::config(text);
    }
    e.into()
}

/// One line on stdout.
pub(crate) fn out(text: impl std::fmt::Display) -> Done {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
