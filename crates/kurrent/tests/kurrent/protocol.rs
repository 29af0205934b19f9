//! The protocol as it is written down: whoever reads `proto/kurrent` finds a word about everything.

use icecore_kurrent::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, MethodDescriptorProto,
};
use std::collections::HashSet;

/// Numbers of fields of descriptors, of which the paths of comments are made.
mod field {
    pub(super) const MESSAGES: i32 = 4;
    pub(super) const ENUMS: i32 = 5;
    pub(super) const SERVICES: i32 = 6;
    pub(super) const NESTED_MESSAGES: i32 = 3;
    pub(super) const NESTED_ENUMS: i32 = 4;
    /// Of a message its fields, of an enumeration its values, of a service its methods.
    pub(super) const MEMBERS: i32 = 2;
}

/// What of a file has no comment.
struct Silent {
    commented: HashSet<Vec<i32>>,
    names: Vec<String>,
}

impl Silent {
    fn of(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let commented = locations.filter(|location| {
            let comment = location.leading_comments.as_deref().unwrap_or_default();
            !comment.trim().is_empty()
        });
        Self {
            commented: commented.map(|location| location.path.clone()).collect(),
            names: Vec::new(),
        }
    }

    fn look(&mut self, path: &[i32], name: &str) {
        if !self.commented.contains(path) {
            self.names.push(name.to_owned());
        }
    }

    fn look_at_members<'a>(
        &mut self,
        path: &[i32],
        name: &str,
        members: impl Iterator<Item = &'a str>,
    ) {
        self.look(path, name);
        for (member, of_member) in members.zip(0..) {
            let path = [path, &[field::MEMBERS, of_member]].concat();
            self.look(&path, &format!("{name}.{member}"));
        }
    }

    fn look_at_enum(&mut self, path: &[i32], name: &str, of: &EnumDescriptorProto) {
        self.look_at_members(
            path,
            name,
            of.value.iter().map(EnumValueDescriptorProto::name),
        );
    }

    fn look_at_message(&mut self, path: &[i32], name: &str, message: &DescriptorProto) {
        // Those of maps stand nowhere.
        if message
            .options
            .as_ref()
            .is_some_and(MessageOptions::map_entry)
        {
            return;
        }
        self.look_at_members(
            path,
            name,
            message.field.iter().map(FieldDescriptorProto::name),
        );
        for (nested, n) in message.nested_type.iter().zip(0..) {
            let path = [path, &[field::NESTED_MESSAGES, n]].concat();
            self.look_at_message(&path, &format!("{name}.{}", nested.name()), nested);
        }
        for (nested, n) in message.enum_type.iter().zip(0..) {
            let path = [path, &[field::NESTED_ENUMS, n]].concat();
            self.look_at_enum(&path, &format!("{name}.{}", nested.name()), nested);
        }
    }
}

#[test]
fn everything_is_commented() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files
        .iter()
        .filter(|file| file.name().starts_with("kurrent/"));
    let mut looked_at = 0;
    for file in ours {
        looked_at += 1;
        let mut silent = Silent::of(file);
        for (message, n) in file.message_type.iter().zip(0..) {
            silent.look_at_message(&[field::MESSAGES, n], message.name(), message);
        }
        for (of, n) in file.enum_type.iter().zip(0..) {
            silent.look_at_enum(&[field::ENUMS, n], of.name(), of);
        }
        for (service, n) in file.service.iter().zip(0..) {
            let methods = service.method.iter().map(MethodDescriptorProto::name);
            silent.look_at_members(&[field::SERVICES, n], service.name(), methods);
        }
        assert!(
            silent.names.is_empty(),
            "{}: {:?}",
            file.name(),
            silent.names
        );
    }
    assert!(looked_at >= 11);
}
