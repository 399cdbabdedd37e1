//! SIGKILL under load (testing.md rows 1 and 2): nothing acknowledged is lost, nothing is granted twice, and every request whose answer
//! was lost comes to one definite outcome when it is repeated: after a restart, or at once at another process.

use crate::{
    Common,
    authority::{Authority, Failure},
    cluster::Cluster,
    database::Database,
    ground,
    random::Dice,
    work::{self, Store, World},
};
use std::{path::Path, sync::atomic::Ordering::SeqCst, time::Duration};

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// From half way on, the database forgets one claim: a second grant for the medium becomes possible.
    ForgetClaim,
    /// From half way on, the database forgets all transfers: licenses are at another device than everybody was told.
    ForgetTransfers,
    /// Half way, the database is put back to what it was some kills before: acknowledged effects are gone.
    StaleDatabase,
}

/// How long the jobs may take to deliver what is due once nobody kills any more: the lease of a job whose process died, and that of the
/// messages which it had taken.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// Runs until `kills` processes have been killed.
///
/// # Errors
/// What was lost or granted twice, what the auditor complains of, or a planted bug that was not found.
pub fn run(common: &Common, kills: u32, servers: usize, plant: Option<Plant>) -> Result<(), Failure> {
    if plant == Some(Plant::StaleDatabase) && common.database.is_some() {
        return Err(Failure::Broken("this plant needs SQLite".into()));
    }
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), u64::from(kills) * 20 + 100)?;
    let world = World::new(media, Store::open(&authority, cluster.token())?, Duration::ZERO);
    let processes: Vec<Authority> = cluster.urls().iter().map(|url| authority.at(url)).collect();
    work::side_by_side(common, &world, &processes, || kill_again_and_again(common, kills, plant, &mut cluster, &world))?;
    judge(common, kills, plant, &cluster, world)
}

/// What the terminals found, else the jobs, else the auditor; and whether enough happened.
fn judge(common: &Common, kills: u32, plant: Option<Plant>, cluster: &Cluster, world: World) -> Result<(), Failure> {
    let finding = world.finding.into_inner().expect("no holder panics");
    let finding = finding.map_or_else(|| drained(cluster).and_then(|()| cluster.audit()), Err);
    let (acknowledged, lost) = (world.acknowledged.into_inner(), world.lost.into_inner());
    let granted = world.granted.into_inner().expect("no holder panics").len();
    let tally = world.tally.into_inner().expect("no holder panics");
    let (elsewhere, repeated) = (world.elsewhere.into_inner(), world.repeated.into_inner());
    println!(
        "kill: {kills} kills among {} processes, {acknowledged} acknowledged, {granted} granted, {lost} answers lost and repeated, \
         {elsewhere} of them answered by another process, {repeated} repeats of answered requests; {tally}; seed {}",
        cluster.servers.len(),
        common.seed
    );
    // In a long run people come to have all that they may: what they buy and copy does not grow with it for ever.
    let bought = kills.min(400);
    let enough = acknowledged >= u64::from(kills) * 5
        && granted >= bought as usize
        && lost > 0
        && tally.is_plenty(u64::from(bought) / 2)
        && (cluster.servers.len() == 1 || elsewhere >= u64::from(kills) / 4);
    work::verdict("kill", plant, finding, enough)
}

/// The jobs of killed processes are done by others: in the end no message is left.
pub(crate) fn drained(cluster: &Cluster) -> Result<(), Failure> {
    let mut left = 0;
    for _ in 0..DRAINED_WITHIN.as_millis() / 250 {
        left = cluster.database.number("SELECT count(*) FROM outbox")?;
        if left == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Err(Failure::Broken(format!("{left} messages of the outbox were not delivered within {} s", DRAINED_WITHIN.as_secs())))
}

fn kill_again_and_again(common: &Common, kills: u32, plant: Option<Plant>, cluster: &mut Cluster, world: &World) -> Result<(), Failure> {
    let mut dice = Dice::new(common.seed, 0);
    let data = cluster.servers[0].data.clone();
    let snapshot = data.with_file_name("snapshot");
    // What is forgotten is forgotten again until somebody notices: nothing may have been confirmed by then, or what had moved is given back.
    let forgets = matches!(plant, Some(Plant::ForgetClaim | Plant::ForgetTransfers));
    let (last, mut forget_at) = if forgets { (20 * kills, kills / 2) } else { (kills, 0) };
    for kill in 1..=last {
        let target = world.acknowledged.load(SeqCst) + 1 + dice.below(40);
        while world.acknowledged.load(SeqCst) < target && !world.stop.load(SeqCst) {
            std::thread::sleep(Duration::from_micros(200));
        }
        if world.stop.load(SeqCst) {
            return Ok(());
        }
        let which = dice.below(cluster.servers.len() as u64) as usize;
        cluster.servers[which].kill();
        match plant {
            Some(Plant::ForgetClaim) if kill >= forget_at && forget_a_claim(&cluster.database, world)? => forget_at = kill + kills / 2,
            Some(Plant::ForgetTransfers) if kill >= forget_at && cluster.database.forget_transfers()? => forget_at = kill + kills / 2,
            Some(Plant::StaleDatabase) if kill == kills / 3 => copy(&data, &snapshot)?,
            Some(Plant::StaleDatabase) if kill == kills / 2 => copy(&snapshot, &data)?,
            _ => {}
        }
        cluster.servers[which].start()?;
        *world.starts.0.lock().expect("no holder panics") += 1;
        world.starts.1.notify_all();
    }
    Ok(())
}

/// Of a medium whose copy was confirmed; false where there is none yet.
pub(crate) fn forget_a_claim(database: &Database, world: &World) -> Result<bool, Failure> {
    let granted = world.granted.lock().expect("no holder panics");
    let Some((medium, _)) = granted.iter().find(|(_, holding)| holding.confirmed) else { return Ok(false) };
    database.forget(world.media[*medium].claims.medium_id.as_str())?;
    Ok(true)
}

/// The database's files only: keys and configuration stay.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = || -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for name in ["counterfoil.db", "counterfoil.db-wal", "counterfoil.db-shm"] {
            let _ = std::fs::remove_file(to.join(name));
            if from.join(name).exists() {
                std::fs::copy(from.join(name), to.join(name))?;
            }
        }
        Ok(())
    };
    copied().map_err(|error| Failure::Io("copying the database", error))
}
