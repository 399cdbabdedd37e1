//! A shop sells devices with user IDs (D1): at the counter, by a table, and what the people then see of their devices.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::world::{Device, World, files_below, outcome, scenario, set_mode, wait_until, write};

/// A shop's token, in a file as it was handed out.
fn token(world: &World) -> PathBuf {
    let (status, made) = world.api("POST", "/v1/tokens", Some(json!({ "role": "shop", "name": "corner shop" })));
    assert_eq!(status, 201, "{made}");
    let path = world.path("shop-token.txt");
    write(&path, format!("{}\n", made["token"].as_str().expect("a token")).as_bytes());
    set_mode(&path, 0o600);
    path
}

/// The device knows its maker, as most do.
fn made_by(device: &Device, maker: &str, model: &str) {
    write(&device.root.join("sys/class/dmi/id/sys_vendor"), maker.as_bytes());
    write(&device.root.join("sys/class/dmi/id/product_name"), model.as_bytes());
}

fn device_id(device: &Device) -> String {
    let status = device.run(["status", "--json"]).done().json();
    status["device"]["id"].as_str().expect("an ID").to_owned()
}

/// Sells a device at the counter: the shop's own computer prepares the profile that is handed over. The user ID.
fn sell(world: &World, shop: &Device, device: &Device, name: &str) -> String {
    let (token, id) = (token(world), device_id(device));
    fs::remove_dir_all(&device.home).expect("looking at it has made a home");
    let mut command = shop.command(["shop", "register", "--json", "--user", name, "--device", &id, "--token-file"]);
    command.arg(token).arg("--profile").arg(&device.home);
    outcome(command).done().json()["user_id"].as_str().expect("a user ID").to_owned()
}

/// Registers with what is in the profile, and nothing else.
fn register(device: &Device) -> Value {
    let mut command = device.command(["register", "--json"]);
    command.env_remove("COUNTERFOIL_SERVER");
    outcome(command).done().json()
}

scenario!(d1_a_device_sold_at_the_counter_registers_without_a_word_typed, |world| {
    let ada = world.device("ada");
    made_by(&ada, "Engines Ltd", "Difference 2");
    let mut command = ada.command(["shop", "register", "--json", "--user", "Ada Lovelace", "--email", "ada@example.org", "--token-file"]);
    command.arg(token(world));
    let sold = outcome(command).done().json();
    assert_eq!((sold["maker"].as_str(), sold["model"].as_str()), (Some("Engines Ltd"), Some("Difference 2")));
    assert_eq!(sold["profile"].as_str(), ada.home.to_str());
    // The same once more, with what was remembered: the same user ID.
    let again = ada.run(["shop", "register", "--json", "--user", "Ada Lovelace", "--email", "ada@example.org"]).done().json();
    assert_eq!(again["user_id"], sold["user_id"]);

    let registered = register(&ada);
    assert_eq!((&registered["user_id"], registered["holder"].as_str()), (&sold["user_id"], Some("device")));
    let profile = fs::read_to_string(ada.home.join("profile.json")).expect("a profile");
    assert!(!profile.contains(sold["user_id"].as_str().expect("an ID")), "the user ID still lies there in the open");
    register(&ada);
    let (status, user) = world.api("GET", &format!("/v1/users/{}", sold["user_id"].as_str().expect("an ID")), None);
    assert_eq!(status, 200, "{user}");
    assert_eq!((user["person"]["name"].as_str(), user["devices"][0]["state"].as_str()), (Some("Ada Lovelace"), Some("registered")));
    let shown = ada.run(["devices"]).done().stdout();
    assert!(shown.contains("this device") && shown.contains("Engines Ltd Difference 2"), "{shown}");
    // A profile that is in use is nobody else's.
    let other = ada.run(["shop", "register", "--user", "Charles Babbage"]);
    other.failed(3, "belongs to another user or device already");
});

scenario!(d1_a_stolen_user_id_opens_nothing_on_another_device, |world| {
    let (shop, ada, thief) = (world.device("shop"), world.device("ada"), world.device("thief"));
    let user = sell(world, &shop, &ada, "Ada Lovelace");
    thief.refuses(&["register", "--user", &user], Code::UserInvalid);
    // Not even with the whole profile: the hardware is another.
    let mut copied = thief.clone();
    copied.home = ada.home.clone();
    copied.refuses(&["register"], Code::UserInvalid);
    let registered = register(&ada);
    assert_eq!(registered["user_id"], user.as_str());
});

// proves: D1, D8
scenario!(d8_further_devices_are_announced_and_each_holds_its_own_keys, |world| {
    let (shop, desk, laptop) = (world.device("shop"), world.device("desk"), world.device("laptop"));
    let user = sell(world, &shop, &desk, "Ada Lovelace");
    register(&desk);
    laptop.refuses(&["register", "--user", &user], Code::UserInvalid);
    desk.run(["devices", "add", &device_id(&laptop), "--name", "the laptop"]).done();
    let waiting = desk.run(["devices", "list", "--json"]).done().json();
    assert_eq!(waiting["devices"][1]["registered"], false);
    laptop.run(["register", "--user", &user]).done();
    let known = laptop.run(["devices", "--json"]).done().json();
    assert_eq!(known["devices"][1]["name"], "the laptop");
    assert!(known["devices"].as_array().expect("a list").iter().all(|device| device["registered"] == true), "{known}");
    // Each copies with keys of its own, confirms, plays, and heals what was damaged.
    for (device, disc) in [&desk, &laptop].into_iter().zip(world.discs(2)) {
        device.copy(&disc).done();
        device.plays_all("sky-raider", &world.small_tree());
        let largest = files_below(&device.library).into_iter().max_by_key(|file| fs::metadata(file).expect("there").len());
        damage(&largest.expect("a pack"));
        let verify = |more: &[&OsStr]| {
            let mut command = device.command(["verify", "sky-raider", "--library"]);
            command.arg(&device.library).args(more);
            outcome(command)
        };
        verify(&[]).failed(1, "is damaged in 1 place");
        verify(&[OsStr::new("--repair-from"), disc.as_os_str()]).done();
        device.plays_all("sky-raider", &world.small_tree());
    }
});

/// Turns over one byte in the middle.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).expect("removed");
    write(path, &bytes);
}

/// Columns of the results by line of the table.
fn results(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).expect("results");
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn import(shop: &Device, table: &Path, out: &Path, more: &[&OsStr]) -> std::process::Command {
    let mut command = shop.command(["shop", "import"]);
    command.arg(table).arg("--out").arg(out).args(more);
    command
}

/// Logs the shop in, by any command with its token.
fn logged_in(world: &World) -> Device {
    let (shop, token) = (world.device("shop"), token(world));
    let other = counterfoil_core::DeviceId::from_bytes([9; 16]).to_string();
    let mut command = shop.command(["shop", "register", "--user", "Nobody", "--device", &other, "--token-file"]);
    command.arg(token);
    outcome(command).done();
    shop
}

fn id(number: usize) -> String {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    counterfoil_core::DeviceId::from_bytes(bytes).to_string()
}

scenario!(d1_a_table_registers_every_row_that_can_be_and_names_the_others, |world| {
    let shop = logged_in(world);
    let ada = world.device("ada");
    let own = device_id(&ada);
    let (table, out, profiles) = (world.path("devices.csv"), world.path("results.csv"), world.path("profiles"));
    let rows = format!(
        "user,email,device_id,maker,model,name\nAda Lovelace,ada@example.org,{own},Engines Ltd,\"Difference, 2\",desk\n\
         Charles Babbage,,{},,,\nNobody,,dev-7Q2M,,,\n,,{},,,\nMary Somerville,not an address,{},,,\nAda Byron,,{own},,,\nshort,row\n",
        id(1),
        id(2),
        id(3)
    );
    write(&table, rows.as_bytes());
    let profiles = [OsStr::new("--profiles"), profiles.as_os_str()];
    outcome(import(&shop, &table, &out, &profiles)).failed(1, "5 rows of 7 could not be registered");
    let first = results(&out);
    // An error may hold commas, and it is the last column.
    let errors: Vec<String> = first.iter().map(|row| row[5..].join(",").trim_matches('"').to_owned()).collect();
    assert_eq!(first.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["2", "3", "4", "5", "6", "7", "8"]);
    for (error, begins) in
        errors.iter().zip(["", "", "device_id: ", "user: ", "", "device_id: it stands in line 2", "the row has 2 fields"])
    {
        assert!(error.starts_with(begins) && (error.is_empty() == begins.is_empty() || error.contains("email")), "{error:?}: {begins:?}");
    }
    // Readable by nobody else: it holds user IDs.
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&out).expect("there").permissions().mode() & 0o777, 0o600);

    // Corrected and run again: what was registered keeps its user ID.
    let corrected = format!(
        "user,email,device_id,maker,model,name\nAda Lovelace,ada@example.org,{own},Engines Ltd,\"Difference, 2\",desk\n\
                             Charles Babbage,,{},,,\nMary Somerville,mary@example.org,{},,,\n",
        id(1),
        id(3)
    );
    write(&table, corrected.as_bytes());
    let done = outcome(import(&shop, &table, &out, &[profiles[0], profiles[1], OsStr::new("--json")])).done().json();
    assert_eq!((done["registered"].as_u64(), done["failed"].as_u64()), (Some(3), Some(0)));
    let second = results(&out);
    assert_eq!((&second[0][2], &second[1][2]), (&first[0][2], &first[1][2]));
    // A device that comes off the line with its profile registers by itself.
    let sold = Device { home: world.path("profiles").join(&own), ..ada };
    assert_eq!(register(&sold)["user_id"], second[0][2].as_str());
    // A table that is none.
    write(&table, b"user,devise\nAda,x\n");
    outcome(import(&shop, &table, &out, &[])).failed(2, "has a column \"devise\"");
});

scenario!(d1_an_import_that_was_killed_goes_on_without_a_double, |world| {
    const ROWS: usize = 150;
    let shop = logged_in(world);
    let (table, out) = (world.path("devices.csv"), world.path("results.csv"));
    let rows: String = (0..ROWS).map(|row| format!("Person {row},{}\n", id(row))).collect();
    write(&table, format!("user,device_id\n{rows}").as_bytes());
    let before = audit_records(world);
    let mut run = import(&shop, &table, &out, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    // Some are registered, and not all.
    let partial = world.path(".results.csv.partial");
    let done = || fs::read_to_string(&partial).map_or(0, |text| text.lines().count());
    wait_until("some rows are registered", || done() > 10);
    run.kill().expect("killed");
    run.wait().expect("gone");
    assert!(!out.exists(), "half a table of results");
    let killed = audit_records(world) - before;
    assert!((20..2 * ROWS as u64).contains(&killed), "it was over before it was killed, or had not begun: {killed} records");
    outcome(import(&shop, &table, &out, &[])).done();
    let told: BTreeSet<String> = results(&out).into_iter().map(|row| row[2].clone()).collect();
    assert_eq!(told.len(), ROWS);
    // Two records for each row, one of the user and one of the device: nobody was registered twice.
    assert_eq!(audit_records(world) - before, 2 * ROWS as u64);
    outcome(import(&shop, &table, &out, &[])).done();
    assert_eq!(results(&out).into_iter().map(|row| row[2].clone()).collect::<BTreeSet<_>>(), told);
    assert_eq!(audit_records(world) - before, 2 * ROWS as u64);
});

/// How much the authority has written down.
fn audit_records(world: &World) -> u64 {
    let audited = outcome(world.operator(["audit", "verify", "--json"])).done().json();
    audited["rows"].as_u64().unwrap_or_else(|| panic!("no number of rows in {audited}"))
}
