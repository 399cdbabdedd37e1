//! The command line: one screen of what there is.

use clap::{Parser, Subcommand};

use crate::context::{Context, Global};
use crate::failure::Failure;
use crate::{
    account, agent, authority, buy, card, completions, contents_server, copy, devices, download, export, feed, import, inspect, install,
    library, license, medium, orders, person, play, present, press, provider, publish, publisher, received, register, release, repair,
    reseller, rights, rules, run, save, send, server, shop, status, store, title, transfer, update, webhook,
};

/// Counterfoil: content on media that can be copied once, into your own library, and played from there
///
/// Exit status: 0 done, 1 refused, 2 wrong usage, 3 could not reach or operate.
#[derive(Parser, Debug)]
#[command(name = "counterfoil", version, max_term_width = 110)]
#[command(after_help = "For people who own media:
  counterfoil card new
  counterfoil register --library ~/Library
  counterfoil copy /media/disc --library ~/Library
  counterfoil play TITLE --run

For publishers:
  counterfoil publisher login --server https://counterfoil.example --token-file token.txt
  counterfoil publish ./sky-raider --title sky-raider --version 1.0.0
  counterfoil press --title sky-raider --count 1000 --out ./discs")]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    #[command(subcommand)]
    Card(card::CardCommand),
    Register(register::Register),
    Inspect(inspect::Inspect),
    Present(present::Present),
    #[command(subcommand)]
    Received(received::ReceivedCommand),
    Copy(copy::Copy),
    Buy(buy::Buy),
    Orders(orders::Orders),
    Refund(orders::Refund),
    Install(install::Install),
    Download(download::Download),
    Update(update::Update),
    Rollback(update::Rollback),
    List(library::List),
    Verify(library::Verify),
    Remove(library::Remove),
    Play(play::Play),
    Run(run::Run),
    Agent(agent::Agent),
    Devices(devices::Devices),
    Transfer(transfer::Transfer),
    Send(send::Send),
    #[command(subcommand)]
    Save(save::SaveCommand),
    #[command(subcommand)]
    License(license::LicenseCommand),
    Store(store::Store),
    #[command(visible_alias = "whoami")]
    Status(status::Status),
    #[command(subcommand)]
    Account(account::AccountCommand),
    #[command(subcommand)]
    Authority(authority::AuthorityCommand),
    /// For publishers: who you are at the authority
    #[command(subcommand)]
    Publisher(PublisherCommand),
    Publish(publish::Publish),
    /// For publishers: how your titles stand in the store
    #[command(subcommand)]
    Title(title::TitleCommand),
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// For publishers: to whom your releases are offered, what they mend, which are good no more
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// For publishers: the signed list of a title's releases that terminals go by
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    Press(press::Press),
    #[command(subcommand)]
    Rights(rights::RightsCommand),
    #[command(subcommand)]
    Medium(medium::MediumCommand),
    Completions(completions::Completions),
    #[command(subcommand)]
    Shop(shop::ShopCommand),
    #[command(subcommand)]
    ContentsServer(contents_server::ContentsServerCommand),
    #[command(subcommand)]
    Reseller(reseller::ResellerCommand),
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    #[command(subcommand)]
    Repair(repair::RepairCommand),
    #[command(subcommand)]
    Import(import::ImportCommand),
    Export(export::Export),
    #[command(subcommand)]
    Person(person::PersonCommand),
    /// For operators: make a new authority (`counterfoild init`)
    #[command(disable_help_flag = true)]
    Init(server::Passed),
    /// For operators: serve (`counterfoild serve`)
    #[command(disable_help_flag = true)]
    Serve(server::Passed),
}

/// Below `publisher`.
#[derive(Subcommand, Debug)]
pub enum PublisherCommand {
    Login(publisher::login::Login),
}

impl Command {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Command::Card(command) => command.run(context),
            Command::Register(command) => command.run(context),
            Command::Inspect(command) => command.run(context),
            Command::Present(command) => command.run(context),
            Command::Received(command) => command.run(context),
            Command::Copy(command) => command.run(context),
            Command::Buy(command) => command.run(context),
            Command::Orders(command) => command.run(context),
            Command::Refund(command) => command.run(context),
            Command::Install(command) => command.run(context),
            Command::Download(command) => command.run(context),
            Command::Update(command) => command.run(context),
            Command::Rollback(command) => command.run(context),
            Command::List(command) => command.run(context),
            Command::Verify(command) => command.run(context),
            Command::Remove(command) => command.run(context),
            Command::Play(command) => command.run(context),
            Command::Run(command) => command.run(context),
            Command::Agent(command) => command.run(context),
            Command::Devices(command) => command.run(context),
            Command::Transfer(command) => command.run(context),
            Command::Send(command) => command.run(context),
            Command::Save(command) => command.run(context),
            Command::License(command) => command.run(context),
            Command::Status(command) => command.run(context),
            Command::Account(command) => command.run(context),
            Command::Authority(command) => command.run(context),
            Command::Publisher(PublisherCommand::Login(command)) => command.run(context),
            Command::Publish(command) => command.run(context),
            Command::Title(command) => command.run(context),
            Command::Release(command) => command.run(context),
            Command::Feed(command) => command.run(context),
            Command::Store(command) => command.run(context),
            Command::Rules(command) => command.run(context),
            Command::ContentsServer(command) => command.run(context),
            Command::Reseller(command) => command.run(context),
            Command::Provider(command) => command.run(context),
            Command::Webhook(command) => command.run(context),
            Command::Repair(command) => command.run(context),
            Command::Rights(command) => command.run(context),
            Command::Medium(command) => command.run(context),
            Command::Press(command) => command.run(context),
            Command::Completions(command) => command.run(context),
            Command::Shop(command) => command.run(context),
            Command::Import(command) => command.run(context),
            Command::Export(command) => command.run(context),
            Command::Person(command) => command.run(context),
            Command::Init(command) | Command::Serve(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
